"""The verdict before any training: can a latency limit be met, and by what?"""

from __future__ import annotations

from collections.abc import Sequence

from autoprune.domain.goal import Evidence, Limit
from autoprune.domain.record import LatencyResult
from autoprune.domain.verdict import Option, Verdict, VerdictKind


def verdict_of(limit: Limit | None, dense: LatencyResult, options: Sequence[Option]) -> Verdict:
    """Judge by measured times; within the limit means the whole 95 % interval is.

    Args:
        limit: The goal; None where none was given.
        dense: The model as it is.
        options: What was timed beside it; the floor of pruning first.
    """
    kind, text = _judged(limit, dense, options)
    return Verdict(kind=kind, text=text, options=tuple(options))


def _judged(
    limit: Limit | None, dense: LatencyResult, options: Sequence[Option]
) -> tuple[VerdictKind, str]:
    floor = options[0]
    plan = next((option for option in options if option.kind == "plan"), None)
    others = [option for option in options if option.kind in ("sibling", "image size")]
    if limit is None or limit.latency_ms is None:
        share = f"{floor.latency.ratio:.0%} of dense"
        return "no goal", f"Pruning can reach {floor.latency.median_ms:.2f} ms ({share})."
    shown = f"{limit.latency_ms:.4g} ms"

    def within(latency: LatencyResult) -> bool:
        return limit.judge_latency(latency) >= Evidence.INTERVAL

    if within(dense):
        return "already met", f"Already met: dense takes {dense.median_ms:.2f} of {shown}."
    proofs = [option for option in (plan, floor) if option and within(option.latency)]
    if proofs:
        about = f"about {_removed_for(limit.latency_ms, floor, plan):.0%} of channels"
        how = ", ".join(f"{each.name}: {each.latency.median_ms:.2f} ms" for each in proofs)
        return "reachable", f"{shown} is reachable by pruning, {about} ({how})."
    nearest = f"not reachable by pruning: the floor is {floor.latency.median_ms:.2f} ms"
    if limit.nearly(floor.latency):
        nearest += ", too near the limit to be sure"
    instead = [option for option in others if within(option.latency)]
    if instead:
        named = ", ".join(f"{each.name} ({each.latency.median_ms:.2f} ms)" for each in instead)
        return "not reachable", f"{shown} is {nearest}; within it: {named}."
    tried = "and none of the smaller models and image sizes tried is within it"
    return "out of reach", f"{shown} is {nearest}, {tried}."


def _removed_for(limit_ms: float, floor: Option, plan: Option | None) -> float:
    """Fraction of channels: the plan's; where it missed the limit, as much more as that takes."""
    most = floor.removed or 0.0
    if plan is None:
        return most
    least, missed_ms = plan.removed or 0.0, plan.latency.median_ms - limit_ms
    if missed_ms <= 0:
        return least
    return least + (most - least) * missed_ms / (plan.latency.median_ms - floor.latency.median_ms)
