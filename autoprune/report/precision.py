"""What quantizing alone gives, and pruning alone: in words, for a study whose files are in INT8."""

from __future__ import annotations

from autoprune.domain.agreement import FEWEST, POOR_AGREEMENT, quantized_agreement
from autoprune.domain.record import LatencyResult, TrialRecord
from autoprune.report import wording
from autoprune.report.study import Study


def quantizing_alone(study: Study, record: TrialRecord) -> str:
    """The dense model and the record in INT8 and in float, beside what is recommended."""
    dense, score = study.dense, record.kept_score
    given = dense.compared if dense is not None else None
    if dense is None or given is None or given.float_metrics is None:
        return ""
    told = [
        _told("Quantized but not pruned", dense.latency, given.metrics.map50_95),
        _told("neither", dense.float_latency, given.float_map50_95),
    ]
    if record.kind != "dense" and score is not None and score.float_metrics is not None:
        alone = _told("pruned but not quantized", record.float_latency, score.float_map50_95)
        told.insert(1, alone)
    return f"{'; '.join(told)} ({study.metric} on val)."


def float_ranks_int8(study: Study) -> str:
    """How well float mAP ranks the files; nothing for a study in float, or without plans."""
    correlation, plans = quantized_agreement(study.records)
    if not plans:
        return ""
    if correlation is None:
        return (
            f"{wording.plural(plans, 'plan')} {'has' if plans == 1 else 'have'} mAP in float and in"
            f" INT8: too few to say whether the one ranks the other ({FEWEST} are needed)."
        )
    text = (
        f"Over the {plans} plans with mAP in float and in INT8, the rank correlation (Spearman) of"
        f" the two is {correlation:.2f}"
    )
    poor = ": what INT8 costs differs from plan to plan" if correlation < POOR_AGREEMENT else ""
    return f"{text}{poor}."


def _told(what: str, latency: LatencyResult | None, score: float) -> str:
    time = "" if latency is None else f"{wording.milliseconds(latency.median_ms)}, "
    return f"{what}: {time}{wording.score(score)}"
