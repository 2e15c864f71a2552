"""Which record answers the goal: ranking, and the best so far."""

from __future__ import annotations

from collections.abc import Iterable

from autoprune.domain.config import Goal
from autoprune.domain.record import TrialRecord


def meets_goal(record: TrialRecord, goal: Goal, dense: TrialRecord) -> bool:
    """Whether a fine-tuned, measured record is within the goal by its median latency."""
    if record.state != "complete" or record.latency is None or record.map50_95 is None:
        return False
    assert dense.latency is not None
    budget_ms = goal.budget_ms(dense.latency.median_ms)
    if budget_ms is not None:
        return record.latency.median_ms <= budget_ms
    return record.map50_95 >= (dense.map50_95 or 0.0) - goal.value / 100


def promising(records: Iterable[TrialRecord], goal: Goal, dense: TrialRecord) -> list[TrialRecord]:
    """Trials scored without training whose predicted latency is within the budget, best first.

    A latency goal ranks by the untrained mAP50-95, ties to the lower predicted latency. An accuracy
    goal takes the fastest first, of those whose untrained score is within it; then the others.
    """
    assert dense.latency is not None
    budget_ms = goal.budget_ms(dense.latency.median_ms)
    least = (dense.map50_95 or 0.0) - goal.value / 100

    def key(record: TrialRecord) -> tuple[float, ...]:
        accuracy, speed = -(record.untrained_map50_95 or 0.0), record.predicted_ms or 0.0
        if goal.kind != "max_drop":
            return (accuracy, speed)
        return (0, speed) if -accuracy >= least else (1, accuracy)

    fitting = [
        record
        for record in records
        if record.same_as is None
        and record.state in ("scored", "complete")  # neither too slow nor failed since
        and record.untrained_map50_95 is not None
        and record.predicted_ms is not None
        and (budget_ms is None or record.predicted_ms <= budget_ms)
    ]
    return sorted(fitting, key=key)


def ranked(records: Iterable[TrialRecord], goal: Goal, dense: TrialRecord) -> list[TrialRecord]:
    """Records that meet the goal, best first.

    A latency goal ranks by mAP50-95, ties to the lower latency; an accuracy goal by latency.
    """

    def key(record: TrialRecord) -> tuple[float, float]:
        assert record.latency is not None
        accuracy, speed = -(record.map50_95 or 0.0), record.latency.median_ms
        return (speed, accuracy) if goal.kind == "max_drop" else (accuracy, speed)

    fitting = [
        record for record in records if record.same_as is None and meets_goal(record, goal, dense)
    ]
    return sorted(fitting, key=key)


def nearest_miss(
    records: Iterable[TrialRecord], goal: Goal, dense: TrialRecord
) -> TrialRecord | None:
    """The record that misses the goal by the least: the fastest, or the most accurate."""
    measured = [
        record for record in records if record.latency is not None and record.state != "failed"
    ]
    if goal.kind == "max_drop":
        trained = [record for record in measured if record.map50_95 is not None]
        return max(trained, key=lambda record: record.map50_95 or 0.0, default=None)
    return min(
        measured,
        key=lambda record: record.latency.median_ms if record.latency else 0.0,
        default=None,
    )
