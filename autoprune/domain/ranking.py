"""Which record answers the goal: ranking, the best so far, and the nearest miss."""

from __future__ import annotations

from collections.abc import Iterable

from autoprune.domain.goal import Evidence, Limit, Standing
from autoprune.domain.record import TrialRecord


def promising(records: Iterable[TrialRecord], limit: Limit) -> list[TrialRecord]:
    """Trials scored without training whose predicted latency is within the limit, best first.

    A latency goal ranks by the untrained mAP50-95, ties to the lower predicted latency. An accuracy
    goal takes the fastest first, of those whose untrained score is within it; then the others.
    """

    def key(record: TrialRecord) -> tuple[float, ...]:
        accuracy, speed = -(record.untrained_map50_95 or 0.0), record.predicted_ms or 0.0
        if limit.latency_ms is not None:
            return (accuracy, speed)
        return (0, speed) if -accuracy >= limit.least_map else (1, accuracy)

    fitting = [
        record
        for record in records
        if record.same_as is None
        and record.state in ("scored", "complete")  # neither too slow nor failed since
        and record.untrained_map50_95 is not None
        and record.predicted_ms is not None
        and limit.judge_predicted(record.predicted_ms)
    ]
    return sorted(fitting, key=key)


def ranked(
    records: Iterable[TrialRecord], limit: Limit, at_least: Evidence = Evidence.MEASURED
) -> list[TrialRecord]:
    """Fine-tuned records that are seen to meet the goal, best first.

    A latency goal ranks by mAP50-95, ties to the lower latency; an accuracy goal by latency.

    Args:
        records: Any.
        limit: The goal.
        at_least: The evidence asked for.
    """

    def key(record: TrialRecord) -> tuple[float, float]:
        accuracy, speed = -(record.map50_95 or 0.0), _latency_ms(record)
        return (speed, accuracy) if limit.latency_ms is None else (accuracy, speed)

    fitting = [
        record
        for record in records
        if record.same_as is None
        and record.state == "complete"
        and record.latency is not None
        and record.map50_95 is not None
        and limit.judge(record) >= at_least
    ]
    return sorted(fitting, key=key)


def best_so_far(
    records: Iterable[TrialRecord], limit: Limit, at_least: Evidence = Evidence.MEASURED
) -> TrialRecord | None:
    """The best that is confirmed; else the best that one measurement finds within the goal.

    A record whose confirmation missed the limit is neither.
    """
    known = [record for record in records if not limit.refuted(record)]
    for evidence in (Evidence.CONFIRMED, at_least):
        if best := ranked(known, limit, evidence):
            return best[0]
    return None


def best_known(records: Iterable[TrialRecord], limit: Limit) -> Standing | None:
    """The best there is by the best kind of evidence that there is.

    Fine-tuned and seen to meet the goal goes before measured without training, that before
    predicted without training: however high the score of the lesser kind is. None: not even a
    prediction is within the goal.
    """
    every = list(records)
    if (best := best_so_far(every, limit)) is not None:
        return Standing(best, limit.judge(best))
    hopeful = promising(every, limit)
    measured = [each for each in hopeful if each.latency is not None]
    judged = ((each, limit.judge(each)) for each in (*measured, *hopeful))
    return next((Standing(*each) for each in judged if each[1] > Evidence.NONE), None)


def standing(best: list[TrialRecord], limit: Limit) -> Standing | None:
    """The first of a ranking with what shows that it meets the goal; None for an empty one."""
    return Standing(best[0], limit.judge(best[0])) if best else None


def nearest_miss(records: Iterable[TrialRecord], limit: Limit) -> TrialRecord | None:
    """The record that misses the goal by the least: the fastest, or the most accurate."""
    measured = [
        record for record in records if record.latency is not None and record.state != "failed"
    ]
    if limit.latency_ms is not None:
        return min(measured, key=_latency_ms, default=None)
    trained = [record for record in measured if record.map50_95 is not None]
    return max(trained, key=lambda record: record.map50_95 or 0.0, default=None)


def _latency_ms(record: TrialRecord) -> float:
    return record.latency.median_ms if record.latency else float("inf")
