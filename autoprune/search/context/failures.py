"""What went wrong with one candidate, told apart from a setup or a disk that is at fault."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from autoprune.domain.record import Failure, TrialRecord
from autoprune.errors import (
    ConfigError,
    FailureReason,
    StorageFailed,
    StudyMismatch,
    TargetUnreachable,
    TooManyFailures,
    TrialFailed,
)

FULL_DISK_BYTES = 20_000_000
MAX_FAILURES_IN_A_ROW = 5


class FailureStreak:
    """Counts candidates that failed one after another.

    Args:
        what: Their name in the message: "trials".
    """

    def __init__(self, what: str) -> None:
        self.what, self.length = what, 0

    def note(self, record: TrialRecord) -> None:
        """Take note of a finished candidate.

        Raises:
            TooManyFailures: It is the MAX_FAILURES_IN_A_ROW-th failure in a row.
        """
        self.length = self.length + 1 if record.failure else 0
        if record.failure and self.length >= MAX_FAILURES_IN_A_ROW:
            raise TooManyFailures(
                f"{MAX_FAILURES_IN_A_ROW} {self.what} failed in a row; the last one:"
                f" {record.failure.reason}: {record.failure.detail}"
            )


def candidate_failure(error: Exception, folder: Path) -> Failure:
    """Sort an exception into the reasons the report counts.

    Args:
        error: Caught while working on one candidate.
        folder: The candidate's.

    Raises:
        TargetUnreachable, StudyMismatch, ConfigError: `error` itself: the setup is wrong.
        StorageFailed: The disk is full.
    """
    if isinstance(error, (TargetUnreachable, StudyMismatch, ConfigError)):
        raise error
    if _is_disk_full(error, folder):
        raise StorageFailed(f"{folder}: the disk is full") from error
    if isinstance(error, TrialFailed):
        return Failure(reason=error.reason, detail=error.detail)
    text = " ".join(str(error).split())[:500] or type(error).__name__
    reason: FailureReason = "exception"
    if isinstance(error, MemoryError) or "out of memory" in text.lower():
        reason = "oom"
    return Failure(reason=reason, detail=f"{type(error).__name__}: {text}")


def _is_disk_full(error: Exception, folder: Path) -> bool:
    """Whether the disk is to blame; torch reports a full one as a RuntimeError of its own."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return shutil.disk_usage(folder).free < FULL_DISK_BYTES
