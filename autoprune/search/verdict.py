"""The verdict before any training: can a latency limit be met, and by what?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from autoprune.plan import PruningPlan
from autoprune.record import LatencyResult

VerdictKind = Literal["no goal", "already met", "reachable", "not reachable", "out of reach"]
OptionKind = Literal["floor", "plan", "sibling", "image size"]

_CLEARLY = 0.05  # a prediction this far beyond the limit is not doubted, however small its error


@dataclass(frozen=True)
class Option:
    """One thing that could be run instead of the dense model, timed beside it.

    Attributes:
        name: For people: "yolov8n", "128x128 px", "every index at its strongest".
        latency: As measured, interleaved with the dense model.
        params: Parameters of the model.
        removed: Fraction of the channels that are gone, for pruned models.
        plan: What removes them.
    """

    kind: OptionKind
    name: str
    latency: LatencyResult
    params: int
    removed: float | None = None
    plan: PruningPlan | None = None


@dataclass(frozen=True)
class Verdict:
    """What was found, and the sentence that says it.

    Attributes:
        kind: "not reachable" by pruning, but another option is within the limit; "out of reach":
            none of those tried is.
    """

    kind: VerdictKind
    text: str

    @property
    def good(self) -> bool:
        """Whether a search makes sense, or is not even needed."""
        return self.kind in ("no goal", "already met", "reachable")


def verdict_of(
    limit_ms: float | None,
    dense: LatencyResult,
    floor: Option,
    plan: Option | None,
    others: Sequence[Option],
) -> Verdict:
    """Judge by measured times; within the limit means the whole 95 % interval is.

    Args:
        limit_ms: The latency limit; None where none was given.
        dense: The model as it is.
        floor: Every index at its strongest pruning.
        plan: The plan proposed for the limit, if it was timed.
        others: Smaller siblings and image sizes.
    """
    if limit_ms is None:
        text = f"Pruning can reach {floor.latency.median_ms:.2f} ms ({_of_dense(floor)})."
        return Verdict("no goal", f"{text} Give --budget-ms or --speedup for a verdict.")
    limit = f"{limit_ms:.4g} ms"
    if dense.high_ms <= limit_ms:
        return Verdict("already met", f"Already met: dense takes {dense.median_ms:.2f} of {limit}.")
    proofs = [option for option in (plan, floor) if option and option.latency.high_ms <= limit_ms]
    if proofs:
        about = f"about {_removed_for(limit_ms, floor, plan):.0%} of channels"
        how = ", ".join(f"{each.name}: {each.latency.median_ms:.2f} ms" for each in proofs)
        return Verdict("reachable", f"{limit} is reachable by pruning, {about} ({how}).")
    nearest = f"not reachable by pruning: the floor is {floor.latency.median_ms:.2f} ms"
    if floor.latency.low_ms <= limit_ms:
        nearest += ", too near the limit to be sure"
    instead = [option for option in others if option.latency.high_ms <= limit_ms]
    if instead:
        named = ", ".join(f"{each.name} ({each.latency.median_ms:.2f} ms)" for each in instead)
        return Verdict("not reachable", f"{limit} is {nearest}; within it: {named}.")
    tried = "and none of the smaller models and image sizes tried is within it"
    return Verdict("out of reach", f"{limit} is {nearest}, {tried}.")


def early_verdict(limit_ms: float | None, dense_ms: float, floor_ms: float, error: float) -> str:
    """One line at the start of a search, by prediction alone.

    Args:
        limit_ms: The latency limit; None where the goal is an accuracy.
        dense_ms: Measured.
        floor_ms: Predicted for every index at its strongest pruning.
        error: Mean relative error of predictions.
    """
    floor = f"Pruned to the limit of the search space, about {floor_ms:.2f} ms are predicted"
    floor += f" ({floor_ms / dense_ms:.0%} of dense)"
    if limit_ms is None:
        return f"{floor}."
    if floor_ms <= limit_ms * (1 - error):
        return f"{floor}: {limit_ms:.4g} ms is within reach of pruning."
    if floor_ms <= limit_ms * (1 + max(_CLEARLY, 2 * error)):
        return f"{floor}: {limit_ms:.4g} ms is at the edge of what pruning can reach."
    return (
        f"{floor}: {limit_ms:.4g} ms is NOT reachable by pruning within this space; a smaller "
        "image (--imgsz) or a smaller sibling would be the way. `autoprune probe` times both."
    )


def _removed_for(limit_ms: float, floor: Option, plan: Option | None) -> float:
    """Fraction of channels: the plan's; where it missed the limit, as much more as that takes."""
    most = floor.removed or 0.0
    if plan is None:
        return most
    least, missed_ms = plan.removed or 0.0, plan.latency.median_ms - limit_ms
    if missed_ms <= 0:
        return least
    return least + (most - least) * missed_ms / (plan.latency.median_ms - floor.latency.median_ms)


def _of_dense(option: Option) -> str:
    return f"{option.latency.ratio:.0%} of dense"
