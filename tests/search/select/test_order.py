"""Who is fine-tuned next, from records alone: a table of cases."""

from __future__ import annotations

import pytest

from autoprune.domain.goal import Goal, Limit
from autoprune.domain.plan import PruningPlan
from autoprune.domain.record import TrialRecord
from autoprune.search.select.order import (
    PROMOTIONS,
    Correction,
    misleading,
    order,
    wanted,
)
from tests.search.fakes import DENSE, latency, record, scored

BUDGET = Goal(kind="budget_ms", value=5).against(DENSE)
DROP = Goal(kind="max_drop", value=5).against(DENSE)  # of 0.8: at least 0.75


def trained(
    number: int, ms: float, untrained: float, gain: float = 0.2, **given: object
) -> TrialRecord:
    """A trial that was measured as predicted, or at `ms`, and fine-tuned."""
    fine_tuned = untrained + gain
    return record(
        f"trial {number}",
        ms,
        fine_tuned,
        number=number,
        **{"predicted": ms, "untrained": untrained, **given},
    )


def uniform(ms: float, predicted: float) -> TrialRecord:
    return record("uniform", ms, 0.3, kind="baseline", predicted=predicted, untrained=0.2)


ERROR = 0.01  # of predictions: 1 % in the mean


def numbers(records: list[TrialRecord], error: float = ERROR) -> list[int | None]:
    return [each.number for each in order(records, BUDGET, error)]


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], []),
        # the most accurate first, ties to the one more likely to fit
        ([scored(1, 4.6, 0.5), scored(2, 4.7, 0.6), scored(3, 4.5, 0.5)], [2, 3, 1]),
        # predicted beyond the limit, repeated, failed, too slow: never
        (
            [
                scored(1, 5.01, 0.7),
                scored(2, 4.5, 0.6, same_as="trial 0"),
                record("trial 3", None, None, number=3, state="failed", predicted=4.0),
                record("trial 4", 5.2, None, number=4, state="over_budget", predicted=5.2),
            ],
            [],
        ),
        # a doubtful one goes first if its score is worth a look, not for a little more
        ([scored(1, 4.95, 0.6), scored(2, 4.7, 0.5)], [1, 2]),
        ([scored(1, 5.0, 0.52), scored(2, 4.7, 0.5)], [2, 1]),
        # one that was measured to fit needs no look any more
        ([scored(1, 4.9, 0.51), scored(2, 4.9, 0.5, latency=latency(4.9))], [2, 1]),
        # what has hardly a chance is not worth a look: 4.9 ms is 5.3
        (
            [uniform(4.4, 4.0), trained(9, 4.4, 0.1, predicted=4.0), scored(1, 4.9, 0.5)],
            [],
        ),
        # what is measured faster than predicted comes in, but not beyond the limit as predicted
        ([uniform(3.6, 4.0), scored(1, 5.2, 0.6), scored(2, 4.99, 0.5)], [2]),
    ],
)
def test_a_latency_goal(records: list[TrialRecord], expected: list[int]) -> None:
    assert numbers(records) == expected


def test_the_worse_the_predictor_the_more_a_near_miss_costs() -> None:
    """At 4.8 of 5 ms, 1 % of error leaves little doubt, 5 % leaves much."""
    records = [scored(1, 4.8, 0.51), scored(2, 4.4, 0.5)]
    assert numbers(records, 0.01) == [1, 2]
    assert numbers(records, 0.05) == [2, 1]


def test_the_last_look_is_for_what_most_likely_fits() -> None:
    """Before it a plan of 0.6 at even odds goes first: there is time for a safe one after it."""
    records = [scored(1, 4.9, 0.6), scored(2, 4.5, 0.5), scored(3, 4.0, 0.2)]
    assert numbers(records, 0.05) == [1, 2, 3]
    last = order(records, BUDGET, 0.05, last=True)
    assert [each.number for each in last] == [2, 3, 1]


def test_a_chance_leaves_room_for_the_interval_of_fresh_processes() -> None:
    """Their upper bound must be within the limit: 2 % above what is expected."""
    certain = Correction(factor=1.0, spread=1e-6)
    assert certain.chance(4.89, 5.0) == pytest.approx(1.0)
    assert certain.chance(4.91, 5.0) == pytest.approx(0.0)


def test_a_miss_counts_for_all_plans_in_part_and_several_count_in_full() -> None:
    def factor(count: int) -> float:
        return Correction.of([uniform(4.4, 4.0) for _ in range(count)], ERROR).factor

    assert factor(0) == 1.0
    assert factor(1) == pytest.approx(1.1 ** (2 / 3))
    assert factor(1) < factor(2) < factor(9) < 1.1
    spreads = [Correction.of([uniform(4.4, 4.0)] * n, ERROR).spread for n in (0, 1, 9)]
    assert spreads[0] > spreads[1] > spreads[2]


@pytest.mark.parametrize("goal", [BUDGET, DROP])
def test_a_plan_that_two_searches_scored_at_once_is_fine_tuned_once(goal: Limit) -> None:
    plan, other = PruningPlan({0: 0.3}), PruningPlan({0: 0.4})
    twins = [scored(number, 4.5, 0.76, plan=plan) for number in (1, 2)]
    alone = scored(3, 4.6, 0.755, plan=other)

    def left(*records: TrialRecord) -> set[int | None]:
        return {each.number for each in order(records, goal, ERROR)}

    assert left(*twins, alone) == {1, 3}
    measured = twins[1].model_copy(update={"latency": latency(4.5)})
    assert left(twins[0], measured, alone) == {2, 3}
    assert left(twins[0], trained(2, 4.8, 0.76, gain=0.0, plan=plan), alone) == {3}
    broken = record("trial 0", None, None, number=0, state="failed", plan=plan)
    assert left(broken, *twins) == {1}  # it was never scored


def test_enough_are_trained_when_that_many_better_ones_were() -> None:
    done = [trained(number, 4.5, 0.3 + number / 100) for number in range(PROMOTIONS)]
    worse, better = scored(20, 4.5, 0.29), scored(21, 4.5, 0.32)
    assert [each.number for each in order([*done, worse, better], BUDGET, ERROR)] == [21]
    assert order([*done[1:], worse], BUDGET, ERROR) == [worse]
    assert order([*done, scored(22, 4.5, 0.3)], BUDGET, ERROR) == []  # no better than any of them


def test_one_that_was_measured_too_slow_or_is_a_repeat_is_not_one_of_them() -> None:
    done = [trained(number, 4.5, 0.5) for number in range(PROMOTIONS - 1)]
    slow = trained(8, 4.97, 0.5, predicted=4.97)  # its interval reaches 5.02
    repeat = trained(9, 4.5, 0.5, same_as="trial 0")
    waiting = scored(20, 4.5, 0.4)
    assert order([*done, slow, repeat, waiting], BUDGET, ERROR) == [waiting]
    assert order([*done, trained(8, 4.5, 0.5), waiting], BUDGET, ERROR) == []


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], []),
        # while nothing meets it: what meets it untrained, the fastest first; then the others
        ([scored(1, 3.0, 0.70), scored(2, 7.0, 0.78), scored(3, 6.0, 0.76)], [3, 2]),
        # nothing meets it untrained: the most accurate first
        ([scored(1, 3.0, 0.3), scored(2, 4.0, 0.5)], [2, 1]),
        # training left a fifth of the loss: 0.55 may become 0.75, 0.54 may not
        (
            [
                trained(9, 8.0, 0.70, gain=0.08),
                scored(1, 4.0, 0.56),
                scored(2, 3.0, 0.54),
                scored(3, 5.0, 0.60),
            ],
            [1, 3],
        ),
        # what is not faster than the fastest that meets it is of no use
        ([trained(9, 5.0, 0.70, gain=0.08), scored(1, 5.1, 0.79), scored(2, 4.9, 0.7)], [2]),
        # by measured latencies: 4.6 predicted is 5.3
        ([trained(9, 5.0, 0.7, gain=0.08, predicted=4.0), scored(1, 4.6, 0.7)], []),
        # a baseline that meets it is to be beaten too, but does not end the wait for a first trial
        (
            [
                record("uniform", 8.0, 0.78, kind="baseline", predicted=8.0, untrained=0.7),
                scored(1, 5.0, 0.72),
                scored(2, 7.0, 0.79),
                scored(3, 8.5, 0.79),
            ],
            [2, 1],
        ),
    ],
)
def test_an_accuracy_goal(records: list[TrialRecord], expected: list[int]) -> None:
    assert [each.number for each in order(records, DROP, ERROR)] == expected


def test_an_accuracy_goal_stops_after_its_own_fine_tunes() -> None:
    own = [trained(number, 9.0 - number / 10, 0.7, gain=0.08) for number in range(PROMOTIONS)]
    waiting = scored(20, 4.0, 0.76)
    assert order([*own, waiting], DROP, ERROR) == []
    taken = own[0].model_copy(update={"taken_from": "first/trial 3"})
    assert order([taken, *own[1:], waiting], DROP, ERROR) == [waiting]
    repeat = own[0].model_copy(update={"same_as": "trial 1"})
    assert order([repeat, *own[1:], waiting], DROP, ERROR) == [waiting]


def test_one_odd_measurement_moves_the_correction_little_and_a_repeat_not_at_all() -> None:
    records = [
        uniform(4.4, 4.0),
        trained(1, 4.4, 0.3, predicted=4.0),
        trained(2, 9.0, 0.3, predicted=4.0),
        trained(3, 99.0, 0.3, predicted=4.0, same_as="trial 2"),
        scored(4, 4.0, 0.3),
    ]
    assert Correction.of(records, ERROR).factor == pytest.approx(1.1 ** (3 / 3.5))


def test_a_misleading_score_asks_for_twice_as_many() -> None:
    def records(count: int, sign: int) -> list[TrialRecord]:
        return [trained(n, 4.5, 0.3 + n / 100, gain=0.3 + sign * n / 50) for n in range(count)]

    assert (misleading(records(8, 1)), wanted(records(8, 1))) == (None, PROMOTIONS)
    assert misleading(records(8, -1)) == pytest.approx(-1.0)
    assert wanted(records(8, -1)) == 2 * PROMOTIONS
    assert misleading(records(PROMOTIONS - 1, -1)) is None  # too few to tell
