"""Which record wins."""

from __future__ import annotations

from autoprune.config import Goal
from autoprune.record import Failure
from autoprune.search.candidates import meets_goal, nearest_miss, ranked
from autoprune.search.objectives import constraint_of
from tests.search.fakes import DENSE, record

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


def test_constraints_are_violated_exactly_when_the_goal_is_missed() -> None:
    assert constraint_of(record("a", 5.0, 0.5), BUDGET, DENSE)[1] <= 0
    assert constraint_of(record("a", 5.1, 0.5), BUDGET, DENSE)[1] > 0
    assert constraint_of(record("a", 9.0, 0.79), DROP, DENSE)[1] <= 0
    assert constraint_of(record("a", 9.0, 0.77), DROP, DENSE)[1] > 0
