"""Which record wins."""

from __future__ import annotations

from autoprune.domain.goal import Goal
from autoprune.domain.ranking import nearest_miss, promising, ranked
from autoprune.domain.record import Failure
from tests.search.fakes import DENSE, record, scored

BUDGET = Goal(kind="budget_ms", value=5).against(DENSE)
DROP = Goal(kind="max_drop", value=2).against(DENSE)


def test_a_latency_goal_prefers_accuracy_and_breaks_ties_by_speed() -> None:
    records = [
        record("slow", 6.0, 0.79),
        record("good", 4.9, 0.70),
        record("tie, faster", 4.0, 0.75),
        record("tie", 4.5, 0.75),
    ]
    names = [found.name for found in ranked(records, BUDGET)]
    assert names == ["tie, faster", "tie", "good"]


def test_a_plan_whose_fine_tune_did_harm_is_ranked_by_the_weights_that_were_kept() -> None:
    harmed = record("harmed", 4.9, 0.60, untrained=0.76)
    kept = harmed.model_copy(update={"name": "kept", "untrained_kept": True})
    other = record("other", 4.9, 0.75, untrained=0.7)
    names = [found.name for found in ranked([harmed, other, kept], BUDGET)]
    assert names == ["kept", "other", "harmed"]


def test_an_accuracy_goal_prefers_speed_among_those_within_the_drop() -> None:
    records = [record("a", 7.0, 0.795), record("b", 6.0, 0.781), record("c", 3.0, 0.7799)]
    assert [found.name for found in ranked(records, DROP)] == ["b", "a"]


def test_failed_and_over_budget_records_never_win() -> None:
    failed = record(
        "f", 1.0, 0.9, state="failed", failure=Failure(reason="nan", detail="loss is nan")
    )
    over = record("o", 1.0, None, state="over_budget")
    assert ranked([failed, over], BUDGET) == []


def test_the_nearest_miss_is_the_fastest_or_the_most_accurate() -> None:
    records = [record("a", 7.0, 0.7), record("b", 6.0, None, state="over_budget")]
    assert nearest_miss(records, BUDGET) == records[1]
    assert nearest_miss(records, DROP) == records[0]
    assert nearest_miss([], BUDGET) is None


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
    names = [found.name for found in promising(records, BUDGET)]
    assert names == ["trial 2", "trial 7", "trial 3", "trial 1"]


def test_promising_for_an_accuracy_goal_is_fast_among_the_accurate_then_accurate() -> None:
    records = [
        scored(0, 9.0, 0.79),
        scored(1, 7.0, 0.785),
        scored(2, 3.0, 0.5),
        scored(3, 4.0, 0.7),
    ]
    names = [found.name for found in promising(records, DROP)]
    assert names == ["trial 1", "trial 0", "trial 3", "trial 2"]
