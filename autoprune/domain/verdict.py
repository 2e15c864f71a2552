"""Verdict: whether pruning can meet a latency limit, and what else could; kept as verdict.json."""

from __future__ import annotations

from typing import ClassVar, Literal

from autoprune.domain.record import FileNoun, LatencyResult, Noun, PlanMapping

VerdictKind = Literal["no goal", "already met", "reachable", "not reachable", "out of reach"]
OptionKind = Literal["floor", "plan", "sibling", "image size", "stock export"]


class Option(Noun):
    """One thing that could be run instead of the dense model, timed beside it.

    Attributes:
        kind: "stock export" is the dense model itself, from a graph that is not rewritten.
        name: For people: "yolov8n", "128x128 px", "floor: all at strongest".
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
    plan: PlanMapping | None = None


class Verdict(FileNoun):
    """What was found before any training, and the sentence that says it.

    Attributes:
        kind: "not reachable" by pruning, but another option is within the limit; "out of reach":
            none of those tried is.
        options: Everything timed beside the dense model; the floor of pruning first.
    """

    kind_of_file: ClassVar[str] = "verdict.json"

    kind: VerdictKind
    text: str
    options: tuple[Option, ...] = ()

    @property
    def good(self) -> bool:
        """Whether a search makes sense, or is not even needed."""
        return self.kind in ("no goal", "already met", "reachable")

    @property
    def others(self) -> tuple[Option, ...]:
        """Smaller siblings and image sizes: what could be run without pruning."""
        return tuple(each for each in self.options if each.kind in ("sibling", "image size"))

    @property
    def stock_export(self) -> Option | None:
        """The dense model exported without the rewrites; None where that was not timed."""
        return next((each for each in self.options if each.kind == "stock export"), None)
