"""The one clock: whatever the stages take, the search ends in time and nobody loses a share."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as some

from autoprune.domain.stages import (
    CALIBRATION,
    DENSE,
    FINISH,
    LONGER,
    PREDICTOR,
    PROMOTION,
    REPORT,
    STAGES,
    TRIALS,
    VERDICT,
    Stage,
)
from autoprune.search.context.budget import Budget

A, B = Stage("a", "", 1), Stage("b", "", 1)
C = Stage("c", "", 2, always=True)


class FakeClock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def _budget(clock: FakeClock, limit_s: float | None = 100.0) -> Budget:
    return Budget(limit_s, stages=(A, B, C), now=clock)


def test_the_time_left_is_divided_by_the_shares_of_what_is_still_to_come() -> None:
    clock = FakeClock()
    budget = _budget(clock)
    assert budget.open(A).left_s() == 25
    clock.seconds += 5  # it needed less: the others share the rest
    assert budget.open(B).left_s() == pytest.approx(95 / 3)
    clock.seconds += 65  # it took too much: what is left is the last one's
    assert budget.open(C).left_s() == 30


def test_the_limit_counts_from_where_the_search_began() -> None:
    clock = FakeClock()
    budget = Budget(100, began=clock() - 60, stages=(A, B, C), now=clock)
    assert budget.left_s() == 40
    assert budget.open(A).left_s() == 10


def test_without_a_limit_everything_may_begin() -> None:
    clock = FakeClock()
    budget = _budget(clock, None)
    budget.expect(C, 1e9)
    allowance = budget.open(A)
    clock.seconds += 1e12
    assert not budget.limited
    assert allowance.left_s() == math.inf
    assert allowance.allows(1e9)


def test_a_floor_comes_before_fair_shares_for_its_stage_and_for_those_before_it() -> None:
    clock = FakeClock()
    budget = _budget(clock)
    budget.expect(B, 60)
    budget.expect(B, 40)  # the most that was expected counts
    assert budget.open(A).left_s() == 25
    clock.seconds += 20
    assert budget.open(B).left_s() == 60  # a third of 80 would be its share
    budget.expect(C, 70)
    assert budget.open(B).left_s() == 10  # but what comes after needs 70 of 80


def test_a_unit_begins_only_if_it_ends_within_its_stage() -> None:
    clock = FakeClock()
    allowance = _budget(clock).open(A)
    clock.seconds += 15
    assert allowance.allows(9.9)
    assert not allowance.allows(10.1)
    clock.seconds += 20
    assert not allowance.allows(0.0)


def test_a_unit_that_is_owed_begins_until_later_floors_would_not_fit() -> None:
    clock = FakeClock()
    budget = _budget(clock)
    budget.expect(C, 30)
    allowance = budget.open(A)
    clock.seconds += 69
    assert allowance.allows(1e9, owed=True)
    clock.seconds += 1
    assert not allowance.allows(0.0, owed=True)


def test_after_the_limit_nothing_begins_at_all() -> None:
    clock = FakeClock()
    budget = _budget(clock)
    clock.seconds += 100
    for stage in (A, B, C):
        assert not budget.open(stage).allows(0.0, owed=True)


@given(
    limit_s=some.floats(1, 1e5),
    units=some.lists(some.floats(0.01, 3e4), min_size=len(STAGES), max_size=len(STAGES)),
    floors=some.lists(some.floats(0, 1e3), min_size=len(STAGES), max_size=len(STAGES)),
)
def test_whatever_a_unit_costs_the_end_is_within_the_limit_and_one_unit(
    limit_s: float, units: list[float], floors: list[float]
) -> None:
    """Each stage works as long as it may, and its first unit is owed."""
    clock = FakeClock()
    budget = Budget(limit_s, now=clock)
    for stage, floor in zip(STAGES, floors, strict=True):
        budget.expect(stage, floor)
    longest = 0.0
    for stage, unit in zip(STAGES, units, strict=True):
        allowance, made = budget.open(stage), 0
        while made < 50 and allowance.allows(unit, owed=not made):
            assert clock() < budget.ends
            clock.seconds += unit
            longest, made = max(longest, unit), made + 1
    assert clock() - budget.began <= limit_s + longest + 1e-6


@given(
    spent=some.lists(some.floats(0, 1), min_size=len(STAGES), max_size=len(STAGES)),
    limit_s=some.floats(10, 1e5),
)
def test_stages_that_keep_to_their_time_leave_every_later_one_its_share(
    spent: list[float], limit_s: float
) -> None:
    clock = FakeClock()
    budget = Budget(limit_s, now=clock)
    total = sum(stage.share for stage in STAGES)
    for stage, part in zip(STAGES, spent, strict=True):
        given_s = budget.open(stage).left_s()
        assert given_s >= limit_s * stage.share / total - 1e-6  # none is lost
        clock.seconds += part * given_s
    assert clock() <= budget.ends + 1e-6


@given(spent=some.lists(some.floats(0, 1), min_size=len(STAGES), max_size=len(STAGES)))
def test_what_is_not_used_is_the_last_ones(spent: list[float]) -> None:
    clock = FakeClock()
    budget = Budget(100.0, now=clock)
    for stage, part in zip(STAGES[:-1], spent, strict=False):
        clock.seconds += part * budget.open(stage).left_s()
    assert budget.open(STAGES[-1]).left_s() == pytest.approx(budget.left_s())


def test_what_comes_before_the_trials_has_a_third_of_the_time_and_leaves_the_rest() -> None:
    clock = FakeClock()
    budget = Budget(460.0, now=clock)
    for stage in (DENSE, CALIBRATION, PREDICTOR, VERDICT):
        clock.seconds += budget.open(stage).left_s()
    assert clock() - budget.began <= 0.35 * 460
    assert budget.open(TRIALS).left_s() == pytest.approx(460 * TRIALS.share, rel=0.01)


def test_trials_keep_their_time_whatever_a_fine_tune_will_take() -> None:
    clock = FakeClock()
    budget = Budget(460.0, now=clock)
    clock.seconds += 280
    for stage, floor_s in ((PROMOTION, 150), (FINISH, 30), (REPORT, 5)):
        budget.expect(stage, floor_s)
    share = TRIALS.share / sum(each.share for each in STAGES_LEFT)
    trials = budget.open(TRIALS)
    assert trials.left_s() == pytest.approx(180 * share)
    clock.seconds += trials.left_s()
    assert budget.open(PROMOTION).left_s() == pytest.approx(180 - 180 * share - 35)


STAGES_LEFT = (TRIALS, PROMOTION, FINISH, LONGER, REPORT)
