"""Who is fine-tuned next: one pure function of the records and the goal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, median

from autoprune.domain.agreement import POOR_AGREEMENT, agreement
from autoprune.domain.goal import Evidence, Limit
from autoprune.domain.ranking import promising
from autoprune.domain.record import TrialRecord

PROMOTIONS = 6
LOOK_COSTS = 0.02  # of the dense mAP: what a measurement is worth beside a fine-tune
PRIOR_LEFT = 0.5  # share of what pruning lost that a fine-tune leaves, before any is known
LEAST_ERROR = 0.01  # of a prediction, however well the predictor did
HALF_INTERVAL = 0.02  # of fresh processes: their upper bound must be within the limit
ONE_MEASURED = 2 / 3  # of a first miss is put down to all predictions, the rest to its plan


@dataclass(frozen=True)
class Correction:
    """How predictions of this study's plans are wrong, by the plans measured so far.

    Attributes:
        factor: Times that plans take longer than predicted.
        spread: Standard deviation of what is left, in the logarithm.
    """

    factor: float
    spread: float

    @classmethod
    def of(cls, records: Sequence[TrialRecord], error: float) -> Correction:
        """Weigh the measured plans against the predictor's own error.

        The misses share one cause, unknown and normally distributed, and have one of their own
        each; the factor is the posterior mean of the shared one, by their median.

        Args:
            records: Those with a measured and a predicted latency count, repeats do not.
            error: The predictor's mean relative error.
        """
        misses = [
            math.log(record.latency.median_ms / record.predicted_ms)
            for record in records
            if record.latency and record.predicted_ms and record.same_as is None
        ]
        shared = ONE_MEASURED / (1 - ONE_MEASURED)  # variance, in units of a plan's own
        deviation = error * math.sqrt(math.pi / 2)  # a normal one's, of this mean error
        single = max(LEAST_ERROR, deviation / math.sqrt(1 + shared))
        shrunk = len(misses) / (len(misses) + 1 / shared)
        mean = shrunk * median(misses or [0.0])  # one odd plan must not move it
        left = 1 / (len(misses) + 1 / shared)
        return cls(math.exp(mean), single * math.sqrt(1 + left))

    def chance(self, predicted_ms: float, limit_ms: float) -> float:
        """How likely a plan is to be measured within a limit, its interval included."""
        room = math.log(limit_ms / predicted_ms / self.factor) - HALF_INTERVAL
        return NormalDist().cdf(room / self.spread)


def order(
    records: Sequence[TrialRecord], limit: Limit, error: float, *, last: bool = False
) -> list[TrialRecord]:
    """Scored trials worth a measurement and a fine-tune, the next one first.

    For a latency goal, a plan is a closed box: opening it, which is a measurement, costs a little;
    inside is the mAP expected of its fine-tune if the latency is within the limit, else nothing.
    The best order of opening is by `expected mAP - cost / chance` (Weitzman 1979, "Optimal search
    for the best alternative"): a promising plan that may be too slow is looked at first, one that
    most likely is too slow is not. Those that were measured to fit are open boxes: their mAP counts
    in full. Only as long as fewer than `wanted(records)` better ones were trained. The last box
    that there is time for is that of the highest expected mAP times chance.

    For an accuracy goal the fastest go first, of those that may meet it and beat the fastest that
    does.

    Args:
        records: All baselines and trials of the study.
        limit: The goal.
        error: The latency predictor's mean relative error.
        last: Nothing fits so far, and there is time for one more measurement alone.

    Returns:
        Empty when enough were trained or nothing fits.
    """
    twins = _twins(records)
    waiting = [
        record
        for record in promising(records, limit)
        if record.state == "scored" and record.name not in twins
    ]
    correction = Correction.of(records, error)
    if limit.latency_ms is None:
        enough = len(_trained_here(records)) >= wanted(records)
        return [] if enough else _possibly_faster(records, waiting, limit, correction.factor)
    left, latency_ms = _share_left(records, limit.dense_map, PRIOR_LEFT), limit.latency_ms

    def worth(record: TrialRecord) -> float:
        expected = limit.dense_map - left * (limit.dense_map - (record.untrained_map50_95 or 0.0))
        if record.latency is not None:
            return expected
        chance = correction.chance(record.predicted_ms or 0.0, latency_ms)
        if last:
            return chance * expected
        return expected - LOOK_COSTS * limit.dense_map / max(chance, 1e-9)

    hopeful = [record for record in _not_behind(records, waiting, limit) if worth(record) > 0]
    return sorted(hopeful, key=lambda record: -worth(record))


def _twins(records: Sequence[TrialRecord]) -> set[str]:
    """Trials of a plan that another trial stands for: the one that went further, then the earlier.

    Searches that draw one plan at the same moment both score it; it is fine-tuned once.
    """
    scored = [
        record
        for record in records
        if record.kind == "trial"
        and record.same_as is None
        and record.untrained_map50_95 is not None
    ]
    scored.sort(key=lambda r: (r.state == "scored", r.latency is None, r.number or 0))
    first: dict[str, str] = {}
    for record in scored:
        first.setdefault(str(record.pruning_plan().prune_ratios), record.name)
    return {record.name for record in scored} - set(first.values())


def wanted(records: Sequence[TrialRecord]) -> int:
    """How many to train: twice as many once the untrained score is seen to mislead."""
    return 2 * PROMOTIONS if misleading(records) is not None else PROMOTIONS


def misleading(records: Sequence[TrialRecord]) -> float | None:
    """The rank correlation of untrained and fine-tuned score, where it is known and too low."""
    agreed = agreement(records)
    if agreed.overall is None or agreed.plans < PROMOTIONS or agreed.overall >= POOR_AGREEMENT:
        return None
    return agreed.overall


def _trained_here(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Trials that this study itself fine-tuned."""
    return [
        record
        for record in records
        if record.kind == "trial"
        and record.map50_95 is not None
        and not (record.same_as or record.taken_from)
    ]


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
    share, lost = _share_left(records, limit.dense_map, 1.0), _lost(limit.dense_map)
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


def _share_left(records: Sequence[TrialRecord], dense_map: float, unknown: float) -> float:
    """Share of what pruning lost that a fine-tune leaves, in the middle; `unknown` before any."""
    shares = [
        (dense_map - record.map50_95) / (dense_map - record.untrained_map50_95)
        for record in records
        if record.map50_95 is not None
        and record.untrained_map50_95 is not None
        and record.kind != "dense"
        and record.untrained_map50_95 < dense_map
    ]
    return min(1.0, max(0.0, median(shares))) if shares else unknown


def _lost(dense_map: float) -> Callable[[TrialRecord], float]:
    return lambda record: dense_map - (record.untrained_map50_95 or 0.0)
