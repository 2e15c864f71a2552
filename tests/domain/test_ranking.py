"""Which record wins."""

from __future__ import annotations

from autoprune.domain.goal import Goal
from autoprune.domain.ranking import meets_goal, nearest_miss, promising, ranked
from autoprune.domain.record import Failure
from autoprune.search.propose.objectives import constraint_of, values_of
from tests.search.fakes import DENSE, record, scored

BUDGET = Goal(kind="budget_ms", value=5)
DROP = Goal(kind="max_drop", value=2)


def test_a_latency_goal_prefers_accuracy_and_breaks_ties_by_speed() -> None:
    records = [
        record("slow", 6.0, 0.79),
        record("good", 4.9, 0.70),
        record("tie, faster", 4.0, 0.75),
        record("tie", 4.5, 0.75),
    ]
    names = [found.name for found in ranked(records, BUDGET, DENSE)]
    assert names == ["tie, faster", "tie", "good"]


def test_an_accuracy_goal_prefers_speed_among_those_within_the_drop() -> None:
    records = [record("a", 7.0, 0.795), record("b", 6.0, 0.781), record("c", 3.0, 0.7799)]
    assert [found.name for found in ranked(records, DROP, DENSE)] == ["b", "a"]


def test_a_speedup_is_a_budget_relative_to_dense() -> None:
    goal = Goal(kind="speedup", value=2)
    assert meets_goal(record("half", 5.0, 0.5), goal, DENSE)
    assert not meets_goal(record("more", 5.01, 0.5), goal, DENSE)


def test_failed_and_over_budget_records_never_win() -> None:
    failed = record(
        "f", 1.0, 0.9, state="failed", failure=Failure(reason="nan", detail="loss is nan")
    )
    over = record("o", 1.0, None, state="over_budget")
    assert ranked([failed, over], BUDGET, DENSE) == []


def test_the_nearest_miss_is_the_fastest_or_the_most_accurate() -> None:
    records = [record("a", 7.0, 0.7), record("b", 6.0, None, state="over_budget")]
    assert nearest_miss(records, BUDGET, DENSE) == records[1]
    assert nearest_miss(records, DROP, DENSE) == records[0]
    assert nearest_miss([], BUDGET, DENSE) is None


def test_constraints_go_by_prediction_and_by_the_score_without_training() -> None:
    assert constraint_of(scored(0, 5.0, 0.5), BUDGET, DENSE)[1] <= 0
    assert constraint_of(scored(0, 5.1, 0.5), BUDGET, DENSE)[1] > 0
    assert constraint_of(scored(0, 9.0, 0.79), DROP, DENSE)[1] <= 0
    assert constraint_of(scored(0, 9.0, 0.77), DROP, DENSE)[1] > 0
    trained = record("t", 4.0, 0.79, predicted=9.0, untrained=0.5)
    assert constraint_of(trained, BUDGET, DENSE)[1] > 0
    assert constraint_of(trained, DROP, DENSE)[1] > 0


def test_objective_values_never_change_when_a_trial_is_measured_and_trained() -> None:
    before = scored(3, 4.5, 0.4)
    after = record("trial 3", 4.9, 0.7, number=3, predicted=4.5, untrained=0.4)
    assert values_of(before) == values_of(after) == [1000.0, 4.5, 0.4]
    over = record("trial 4", None, None, state="over_budget", predicted=7.0)
    assert values_of(over) == [1000.0, 7.0, 0.0]


def test_promising_for_a_latency_goal_is_accurate_and_predicted_to_fit() -> None:
    records = [
        scored(0, 5.1, 0.7),
        scored(1, 4.9, 0.5),
        scored(2, 4.0, 0.6),
        scored(3, 4.5, 0.5),
        scored(4, 3.0, 0.6, same_as="trial 2"),
        record("trial 5", None, None, state="over_budget", predicted=4.0),
        record("trial 6", 5.2, None, state="over_budget", predicted=4.9, untrained=0.7),
        record("trial 7", 4.0, 0.7, predicted=4.0, untrained=0.55),
    ]
    names = [found.name for found in promising(records, BUDGET, DENSE)]
    assert names == ["trial 2", "trial 7", "trial 3", "trial 1"]


def test_promising_for_an_accuracy_goal_is_fast_among_the_accurate_then_accurate() -> None:
    records = [
        scored(0, 9.0, 0.79),
        scored(1, 7.0, 0.785),
        scored(2, 3.0, 0.5),
        scored(3, 4.0, 0.7),
    ]
    names = [found.name for found in promising(records, DROP, DENSE)]
    assert names == ["trial 1", "trial 0", "trial 3", "trial 2"]
