"""The whole error tree, sorted by what the caller does about an error.

AutopruneError
|- ConfigError           the user's input is wrong: file, key, got, expected -> exit 2, at once
|  |- PlanError          the plan does not fit this model                     -> exit 2
|  |- BrokenContent      a file of a study, not as it was written             -> set aside; exit 2
|- StudyMismatch         resumed with another model, data, space or target   -> exit 2, differs
|- UnsupportedModel      another task, or nothing that can be pruned          -> exit 2
|- TargetUnreachable     the device is gone                                   -> pause, exit 4
|- TooManyFailures       several trials in a row failed                       -> exit 5
|- StorageFailed         disk full, database locked                           -> pause, exit 4
|- TrialFailed           this candidate only                                  -> recorded, goes on
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from typing_extensions import Self

FailureReason = Literal[
    "nan", "oom", "export", "latency", "timeout", "crash", "collapsed", "exception"
]


class AutopruneError(Exception):
    """Base of every error autoprune raises on purpose."""


class ConfigError(AutopruneError):
    """The user's input is wrong; the message names file, key, got and expected."""

    @classmethod
    def of(cls, where: str, key: str, got: object, expected: str) -> Self:
        """Build the one-line message `where: key: got X, expected Y`."""
        shown = repr(got)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        place = f"{where}: {key}" if key else where
        return cls(f"{place}: got {shown}, expected {expected}")


class BrokenContent(ConfigError):
    """A file of a study was read, and its content cannot be what was written."""


class PlanError(ConfigError):
    """A pruning plan does not fit the model it is applied to."""


class StudyMismatch(AutopruneError):
    """A study is resumed with settings other than those it was started with."""


class UnsupportedModel(AutopruneError):
    """The model is of another task, or none of its channels can be removed."""


class TargetUnreachable(AutopruneError):
    """The device that measures latency does not answer."""


class TooManyFailures(AutopruneError):
    """Several trials in a row failed: something is wrong with the setup, not with the plans."""


class StorageFailed(AutopruneError):
    """The study's database or the disk under it cannot be written now."""


class TrialFailed(AutopruneError):
    """One candidate failed; `reason` is counted in the report."""

    def __init__(self, reason: FailureReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: FailureReason = reason
        self.detail = detail
