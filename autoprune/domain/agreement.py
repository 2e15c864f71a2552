"""How well the score without training ranks plans: its agreement with the fine-tuned score."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from autoprune.domain.record import TrialRecord

LATENCY_BAND = 0.05
"""Plans whose latencies differ by at most this share are alike in speed."""

FEWEST = 4  # pairs below which a rank correlation says nothing

POOR_AGREEMENT = 0.6
"""Below it the score without training misleads."""


@dataclass(frozen=True)
class Agreement:
    """Rank correlations (Spearman) between untrained and fine-tuned mAP50-95.

    Attributes:
        overall: Over all plans that have both; None for fewer than FEWEST.
        within_bands: Mean over groups of plans alike in latency; None without such a group.
        plans: Plans that have both scores.
    """

    overall: float | None
    within_bands: float | None
    plans: int


def agreement(records: Iterable[TrialRecord]) -> Agreement:
    """Compare the two scores over all records that have both and a measured latency."""
    points = sorted(
        (record.latency.ratio, record.untrained_map50_95, record.fine_tuned_map50_95)
        for record in scored_twice(records)
        if record.latency is not None
        and record.untrained_map50_95 is not None
        and record.fine_tuned_map50_95 is not None
    )
    bands = []
    for ratio, _, _ in points:
        band = [point for point in points if abs(point[0] / ratio - 1) <= LATENCY_BAND]
        correlation = _spearman(band)
        if correlation is not None:
            bands.append(correlation)
    return Agreement(
        overall=_spearman(points),
        within_bands=sum(bands) / len(bands) if bands else None,
        plans=len(points),
    )


def quantized_agreement(records: Iterable[TrialRecord]) -> tuple[float | None, int]:
    """How well float mAP ranks fine-tuned plans by the mAP of their INT8 files.

    Returns:
        The rank correlation (Spearman), None for fewer than FEWEST plans; and the plans.
    """
    pairs = [
        (score.float_map50_95, score.metrics.map50_95)
        for record in records
        if record.kind != "dense" and record.same_as is None
        for score in [record.compared]
        if score is not None and score.float_metrics is not None
    ]
    return _spearman([(0.0, *pair) for pair in pairs]), len(pairs)


def scored_twice(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Measured candidates with a score without training and after the short fine-tune."""
    return [
        record
        for record in records
        if record.kind != "dense"
        and record.same_as is None
        and record.latency is not None
        and record.untrained_map50_95 is not None
        and record.fine_tuned_map50_95 is not None
    ]


def _spearman(points: list[tuple[float, float, float]]) -> float | None:
    untrained, trained = [point[1] for point in points], [point[2] for point in points]
    if len(points) < FEWEST or len(set(untrained)) < 2 or len(set(trained)) < 2:
        return None
    from scipy.stats import spearmanr  # a second: only where there is something to rank

    return float(spearmanr(untrained, trained).statistic)
