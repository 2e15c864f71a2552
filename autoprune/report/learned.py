"""What a search learned before its trials, as it left it on disk for the report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import ConfigDict, model_validator

from autoprune.domain.record import FileNoun, Noun
from autoprune.domain.verdict import Verdict
from autoprune.storage.study_folder import StudyFolder


class _Saved(Noun):
    model_config = ConfigDict(extra="ignore")


class SavedError(_Saved):
    """The latency predictor's error on plans it had not learned from."""

    mape: float  # mean absolute relative error
    spearman: float
    plans: int


class SavedStaircase(_Saved):
    """The channel block by which the target's latency falls."""

    block: int


class SavedPredictor(FileNoun):
    """The part of latency_predictor.json that the report shows."""

    model_config = ConfigDict(extra="ignore")
    kind_of_file: ClassVar[str] = "latency_predictor.json"

    error: SavedError
    staircase: SavedStaircase


class SavedProfile(FileNoun):
    """profile.json: the estimated cost in accuracy of every kept width, by parameter.

    Attributes:
        names: Parameter names, e.g. `keep_4` and `keep_22_box`.
        choices: Kept widths on offer per parameter, ascending.
        costs: Relative rise of the loss for each of them.
    """

    model_config = ConfigDict(extra="ignore")
    kind_of_file: ClassVar[str] = "profile.json"

    names: tuple[str, ...]
    choices: tuple[tuple[int, ...], ...]
    costs: tuple[tuple[float, ...], ...]

    @model_validator(mode="after")
    def _one_cost_per_choice(self) -> SavedProfile:
        offered, priced = (tuple(map(len, table)) for table in (self.choices, self.costs))
        if len(offered) != len(self.names) or offered != priced or 0 in offered:
            raise ValueError("expected one cost per kept width of every parameter")
        if any(tuple(sorted(set(row))) != row or row[0] < 1 for row in self.choices):
            raise ValueError("expected kept widths that rise from 1 or more")
        return self

    def as_table(self) -> Mapping[str, tuple[tuple[int, float], ...]]:
        """Parameter name -> (kept width, cost) pairs."""
        return {
            name: tuple(zip(offered, priced, strict=True))
            for name, offered, priced in zip(self.names, self.choices, self.costs, strict=True)
        }


def load_predictor(folder: StudyFolder) -> SavedPredictor | None:
    """What is known of the latency predictor; None where a study learned none.

    Raises:
        ConfigError: The file is there and broken.
    """
    return _load(SavedPredictor, folder.predictor)


def load_profile(folder: StudyFolder) -> SavedProfile | None:
    """The sensitivity profile; None where a study has none.

    Raises:
        ConfigError: The file is there and broken.
    """
    return _load(SavedProfile, folder.profile)


def load_verdict(folder: StudyFolder) -> Verdict | None:
    """What was found before the first trial; None where nothing was looked for.

    Raises:
        ConfigError: The file is there and broken.
    """
    return _load(Verdict, folder.verdict)


_Kept = TypeVar("_Kept", bound=FileNoun)


def _load(noun: type[_Kept], path: Path) -> _Kept | None:
    return noun.load(path) if path.exists() else None
