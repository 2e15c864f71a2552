"""The verdict before any training: can a latency limit be met, and by what?"""

from __future__ import annotations

from collections.abc import Sequence

from autoprune.domain.record import LatencyResult
from autoprune.domain.verdict import Option, Verdict, VerdictKind


def verdict_of(limit_ms: float | None, dense: LatencyResult, options: Sequence[Option]) -> Verdict:
    """Judge by measured times; within the limit means the whole 95 % interval is.

    Args:
        limit_ms: The latency limit; None where none was given.
        dense: The model as it is.
        options: What was timed beside it; the floor of pruning first.
    """
    kind, text = _judged(limit_ms, dense, options)
    return Verdict(kind=kind, text=text, options=tuple(options))


def _judged(
    limit_ms: float | None, dense: LatencyResult, options: Sequence[Option]
) -> tuple[VerdictKind, str]:
    floor = options[0]
    plan = next((option for option in options if option.kind == "plan"), None)
    others = [option for option in options if option.kind in ("sibling", "image size")]
    if limit_ms is None:
        share = f"{floor.latency.ratio:.0%} of dense"
        return "no goal", f"Pruning can reach {floor.latency.median_ms:.2f} ms ({share})."
    limit = f"{limit_ms:.4g} ms"
    if dense.high_ms <= limit_ms:
        return "already met", f"Already met: dense takes {dense.median_ms:.2f} of {limit}."
    proofs = [option for option in (plan, floor) if option and option.latency.high_ms <= limit_ms]
    if proofs:
        about = f"about {_removed_for(limit_ms, floor, plan):.0%} of channels"
        how = ", ".join(f"{each.name}: {each.latency.median_ms:.2f} ms" for each in proofs)
        return "reachable", f"{limit} is reachable by pruning, {about} ({how})."
    nearest = f"not reachable by pruning: the floor is {floor.latency.median_ms:.2f} ms"
    if floor.latency.low_ms <= limit_ms:
        nearest += ", too near the limit to be sure"
    instead = [option for option in others if option.latency.high_ms <= limit_ms]
    if instead:
        named = ", ".join(f"{each.name} ({each.latency.median_ms:.2f} ms)" for each in instead)
        return "not reachable", f"{limit} is {nearest}; within it: {named}."
    tried = "and none of the smaller models and image sizes tried is within it"
    return "out of reach", f"{limit} is {nearest}, {tried}."


def _removed_for(limit_ms: float, floor: Option, plan: Option | None) -> float:
    """Fraction of channels: the plan's; where it missed the limit, as much more as that takes."""
    most = floor.removed or 0.0
    if plan is None:
        return most
    least, missed_ms = plan.removed or 0.0, plan.latency.median_ms - limit_ms
    if missed_ms <= 0:
        return least
    return least + (most - least) * missed_ms / (plan.latency.median_ms - floor.latency.median_ms)
