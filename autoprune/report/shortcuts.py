"""The two shortcuts of a search, predicted latency and scores without training, and their truth."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean, median

from autoprune.domain.agreement import FEWEST, LATENCY_BAND, POOR_AGREEMENT, agreement, scored_twice
from autoprune.domain.record import TrialRecord
from autoprune.report import wording
from autoprune.report.precision import float_ranks_int8
from autoprune.report.study import Study, is_repeat


@dataclass(frozen=True)
class Shortcut:
    """One shortcut, told and judged.

    Attributes:
        title: What it is.
        figure: Name of the page's plot of it.
        sentences: How it works and how it did in this study.
        warning: Why not to lean on it here; "" when nothing is wrong.
    """

    title: str
    figure: str
    sentences: tuple[str, ...]
    warning: str = ""


def shortcuts(study: Study) -> list[Shortcut]:
    """What is known of both; a study that took neither has none."""
    found = [_latency(study), _training(study)]
    return [shortcut for shortcut in found if shortcut is not None]


def predicted_and_measured(study: Study) -> list[TrialRecord]:
    """Candidates whose latency was predicted first and measured later."""
    return [
        record
        for record in study.records
        if record.kind != "dense"
        and record.latency is not None
        and record.predicted_ms is not None
        and not is_repeat(record)
    ]


def untrained_and_trained(study: Study) -> list[TrialRecord]:
    """Measured candidates scored without training first and fine-tuned shortly later."""
    return scored_twice(study.records)


def _latency(study: Study) -> Shortcut | None:
    learned, both = study.predictor, predicted_and_measured(study)
    if learned is None and not both:
        return None
    sentences = ["Until a plan is promoted its latency is only predicted, from timed plans."]
    if learned is not None:
        sentences.append(
            f"Cross-validated on the {learned.error.plans} plans timed for it, the predictor is"
            f" off by {wording.share(learned.error.mape)} on average, and sorts them with a rank"
            f" correlation of {_correlation(learned.error.spearman)}; the target's latency falls"
            f" in steps of {learned.staircase.block} channels."
        )
    if both:
        ratios = [
            record.predicted_ms / record.latency.median_ms
            for record in both
            if record.predicted_ms is not None and record.latency is not None
        ]
        off, bias = fmean(abs(ratio - 1) for ratio in ratios), median(ratios) - 1
        direction = "high" if bias > 0 else "low"
        lean = f" (median: {wording.share(abs(bias))} too {direction})"
        sentences.append(
            f"On the {wording.plural(len(both), 'candidate')} measured in the search it was off by"
            f" {wording.share(off)} on average{lean if bias else ''}."
        )
    return Shortcut("Predicted latency", "latency", tuple(sentences))


def _training(study: Study) -> Shortcut | None:
    both = untrained_and_trained(study)
    if not both and not study.untrained:
        return None
    found = agreement(study.records)
    sentences = ["Plans are ranked by their mAP right after pruning; only the best are trained."]
    if found.overall is None:
        sentences.append(
            f"{wording.plural(found.plans, 'plan')} {'has' if found.plans == 1 else 'have'} both"
            f" scores: too few to say how well the one ranks the other ({FEWEST} are needed)."
        )
    else:
        sentences.append(
            f"Over the {found.plans} plans that have both scores, the rank correlation (Spearman)"
            f" is {_correlation(found.overall)}; 1 is the same order, 0 is chance."
        )
        sentences.append(_within_bands(found.within_bands))
    if both:
        sentences.append(_gains(both, study.metric))
    if said := float_ranks_int8(study):
        sentences.append(said)
    return Shortcut("Score without training", "training", tuple(sentences), _warning(found.overall))


def _within_bands(correlation: float | None) -> str:
    band = f"within ±{100 * LATENCY_BAND:.0f} % in latency"
    if correlation is None:
        return f"No {FEWEST} of them are {band} of each other."
    poor = ": among plans alike in speed the order is hardly more than a guess"
    return (
        f"Among plans {band} it is {_correlation(correlation)} on average"
        f"{poor if correlation < POOR_AGREEMENT else ''}."
    )


def _gains(both: list[TrialRecord], metric: str) -> str:
    gains = [
        100 * (record.fine_tuned_map50_95 - record.untrained_map50_95)
        for record in both
        if record.fine_tuned_map50_95 is not None and record.untrained_map50_95 is not None
    ]
    if len(gains) == 1:
        return f"The short fine-tune changed its {metric} by {gains[0]:+.1f} points."
    return (
        f"The short fine-tune changed {metric} by {min(gains):+.1f} to {max(gains):+.1f} points"
        f" (median {median(gains):+.1f})."
    )


def _warning(overall: float | None) -> str:
    if overall is None or overall >= POOR_AGREEMENT:
        return ""
    return (
        "In this study the score without training ranks plans poorly (rank correlation"
        f" {_correlation(overall)}, below {POOR_AGREEMENT}): a better plan may be among those never"
        " trained."
    )


def _correlation(value: float) -> str:
    return f"{value:.3f}" if value > 0.99 else f"{value:.2f}"
