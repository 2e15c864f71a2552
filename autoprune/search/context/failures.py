"""What went wrong with one candidate, told apart from a setup or a disk that is at fault."""

from __future__ import annotations

import errno
import shutil
from collections import Counter, deque
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
LATEST = 20  # candidates, of which half may not fail


class FailureStreak:
    """Stops a search whose candidates fail one after another, or half of them.

    Args:
        what: Their name in the message: "trials".
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._latest: deque[Failure | None] = deque(maxlen=LATEST)

    def note(self, record: TrialRecord) -> None:
        """Take note of a finished candidate.

        Raises:
            TooManyFailures: It is the MAX_FAILURES_IN_A_ROW-th failure in a row, or the failure
                that makes them half of the LATEST; the message counts the reasons.
        """
        self._latest.append(record.failure)
        if record.failure is None:
            return
        in_a_row = list(self._latest)[-MAX_FAILURES_IN_A_ROW:]
        failed = [each for each in self._latest if each is not None]
        if len(in_a_row) == MAX_FAILURES_IN_A_ROW and None not in in_a_row:
            said = f"{MAX_FAILURES_IN_A_ROW} {self.what} failed in a row"
        elif 2 * len(failed) >= LATEST:
            said = f"{len(failed)} of the last {len(self._latest)} {self.what} failed"
        else:
            return
        counts = Counter(each.reason for each in failed).most_common()
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts)
        last = f"{record.failure.reason}: {record.failure.detail}"
        raise TooManyFailures(f"{said} ({reasons}); the last one: {last}")


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
