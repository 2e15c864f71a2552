"""Who is fine-tuned next: one pure function of the records and the goal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from autoprune.domain.agreement import POOR_AGREEMENT, agreement
from autoprune.domain.goal import Evidence, Limit
from autoprune.domain.ranking import promising
from autoprune.domain.record import TrialRecord

PROMOTIONS = 6
SAFE = 0.975  # of the limit, for the first plan to be trained: its interval must fit in, twice


def order(records: Sequence[TrialRecord], limit: Limit) -> list[TrialRecord]:
    """Scored trials worth a measurement and a fine-tune, the next one first.

    Predictions are corrected by how measured plans compare with theirs. For a latency goal the most
    accurate go first, as long as fewer than `wanted(records)` better ones were trained; the very
    first is one that is surely within the limit. For an accuracy goal the fastest go first, of
    those that may meet it and beat the fastest that does.

    Args:
        records: All baselines and trials of the study.
        limit: The goal.

    Returns:
        Empty when enough were trained or nothing fits.
    """
    bias = correction(records)
    waiting = [
        record
        for record in promising(records, limit)
        if record.state == "scored"
        and limit.judge_predicted((record.predicted_ms or 0.0) * bias) >= Evidence.PREDICTED
    ]
    if limit.latency_ms is None:
        enough = len(_trained_here(records)) >= wanted(records)
        return [] if enough else _possibly_faster(records, waiting, limit, bias)
    return _not_behind(records, _one_safe_first(records, waiting, limit, bias), limit)


def wanted(records: Sequence[TrialRecord]) -> int:
    """How many to train: twice as many once the untrained score is seen to mislead."""
    return 2 * PROMOTIONS if misleading(records) is not None else PROMOTIONS


def misleading(records: Sequence[TrialRecord]) -> float | None:
    """The rank correlation of untrained and fine-tuned score, where it is known and too low."""
    agreed = agreement(records)
    if agreed.overall is None or agreed.plans < PROMOTIONS or agreed.overall >= POOR_AGREEMENT:
        return None
    return agreed.overall


def correction(records: Sequence[TrialRecord]) -> float:
    """How many times longer plans took than predicted, in the middle."""
    return median(
        [
            record.latency.median_ms / record.predicted_ms
            for record in records
            if record.latency and record.predicted_ms and record.same_as is None
        ]
        or [1.0]
    )


def _trained_here(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Trials that this study itself fine-tuned."""
    return [
        record
        for record in records
        if record.kind == "trial"
        and record.map50_95 is not None
        and not (record.same_as or record.taken_from)
    ]


def _one_safe_first(
    records: Sequence[TrialRecord], waiting: list[TrialRecord], limit: Limit, bias: float
) -> list[TrialRecord]:
    """Until one that is surely within the limit is trained, such plans go first.

    There may be time for one alone, and its latency is measured once more at the end.
    """

    def safe(record: TrialRecord) -> bool:
        expected_ms = (record.predicted_ms or 0.0) * max(1.0, bias)
        if record.latency is not None:
            expected_ms = record.latency.median_ms
        return limit.judge_predicted(expected_ms, SAFE) >= Evidence.PREDICTED

    if any(r.kind == "trial" and r.map50_95 is not None and safe(r) for r in records):
        return waiting
    return sorted(waiting, key=lambda record: not safe(record))


def _not_behind(
    records: Sequence[TrialRecord], waiting: list[TrialRecord], limit: Limit
) -> list[TrialRecord]:
    """Those with fewer than `wanted` better ones that were trained and fit the limit.

    A continued search with new, better plans so trains them, however many it trained before.
    """
    tried = [
        record.untrained_map50_95 or 0.0
        for record in records
        if record.kind == "trial"
        and record.same_as is None
        and record.map50_95 is not None
        and record.latency is not None
        and limit.judge_latency(record.latency) >= Evidence.INTERVAL
    ]
    most = wanted(records)
    return [
        record
        for record in waiting
        if sum(each >= (record.untrained_map50_95 or 0.0) for each in tried) < most
    ]


def _possibly_faster(
    records: Sequence[TrialRecord], waiting: list[TrialRecord], limit: Limit, bias: float
) -> list[TrialRecord]:
    """For an accuracy goal: what may beat the fastest that meets it, the fastest first.

    Training leaves a share of what pruning lost. Until a trial meets the goal, those that meet it
    without training go first: there may be time for one alone.
    """
    share, lost = _share_left(records, limit.dense_map), _lost(limit.dense_map)
    met = [
        record
        for record in records
        if record.state == "complete" and limit.judge(record) >= Evidence.MEASURED
    ]
    fastest_ms = min((r.latency.median_ms for r in met if r.latency), default=float("inf"))
    hopeful = [
        record
        for record in waiting
        if limit.tolerates(share * lost(record))
        and (record.predicted_ms or 0.0) * bias < fastest_ms
    ]
    none_yet = not any(record.kind == "trial" for record in met)
    hopeful.sort(key=lambda r: (none_yet and not limit.tolerates(lost(r)), r.predicted_ms or 0.0))
    return hopeful or ([] if met else waiting)


def _share_left(records: Sequence[TrialRecord], dense_map: float) -> float:
    """Share of what pruning lost that a fine-tune leaves, in the middle; 1 before any is known."""
    shares = [
        (dense_map - record.map50_95) / (dense_map - record.untrained_map50_95)
        for record in records
        if record.map50_95 is not None
        and record.untrained_map50_95 is not None
        and record.kind != "dense"
        and record.untrained_map50_95 < dense_map
    ]
    return min(1.0, max(0.0, median(shares))) if shares else 1.0


def _lost(dense_map: float) -> Callable[[TrialRecord], float]:
    return lambda record: dense_map - (record.untrained_map50_95 or 0.0)
