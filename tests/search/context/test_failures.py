"""The circuit breaker: five failures in a row, or half of the last twenty, end a search."""

from __future__ import annotations

import pytest

from autoprune.domain.record import Failure, TrialRecord
from autoprune.errors import FailureReason, TooManyFailures
from autoprune.search.context.failures import LATEST, FailureStreak
from tests.search.fakes import record


def _done(reason: FailureReason | None) -> TrialRecord:
    if reason is None:
        return record("trial 1", None, None, state="scored")
    failure = Failure(reason=reason, detail="what happened")
    return record("trial 1", None, None, state="failed", failure=failure)


def _after(reasons: list[FailureReason | None]) -> int:
    streak = FailureStreak("trials")
    for number, reason in enumerate(reasons, start=1):
        try:
            streak.note(_done(reason))
        except TooManyFailures:
            return number
    return 0


def test_four_in_a_row_are_survived_and_the_fifth_ends_it() -> None:
    assert _after(["oom"] * 4 + [None] + ["oom"] * 4) == 0
    assert _after([None, None, *["oom"] * 9]) == 7


def test_half_of_the_last_twenty_end_it_however_they_are_spread() -> None:
    assert _after([None, "nan"] * LATEST) == LATEST
    assert _after([None, None, "nan"] * LATEST) == 0
    assert _after(["nan", "nan", "nan", None] * LATEST) == 13  # already the tenth of them


def test_the_message_counts_the_reasons_and_ends_with_the_last() -> None:
    streak = FailureStreak("fine-tunes")
    for reason in ("oom", "nan", "oom", "crash"):
        streak.note(_done(reason))
    with pytest.raises(TooManyFailures) as raised:
        streak.note(_done("timeout"))
    assert str(raised.value) == (
        "5 fine-tunes failed in a row (2 oom, 1 nan, 1 crash, 1 timeout);"
        " the last one: timeout: what happened"
    )
