"""ModelCard: what a bundle holds, dense against shipped, and how each number was obtained."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from autoprune.domain.record import FileNoun, Fingerprint, LatencyResult, Noun

WORSE_POINTS = 3.0  # AP points, beyond which a class that lost is named


class Timed(Noun):
    """Latency of one forward pass at batch 1, without its samples; a 95 % interval."""

    median_ms: float
    low_ms: float
    high_ms: float
    p90_ms: float
    ratio: float  # to the dense model, timed beside it
    ratio_low: float
    ratio_high: float
    processes: int
    steady: bool

    @classmethod
    def of(cls, result: LatencyResult) -> Timed:
        """Without the samples."""
        return cls(**{name: getattr(result, name) for name in cls.model_fields})


class Score(Noun):
    """Accuracy on one split, in [0, 1]."""

    split: str
    images: int
    metric: str
    map50_95: float
    map50: float
    by_class: dict[str, float]  # AP50-95 of the classes that have objects there
    through: str  # what computed the outputs: "onnxruntime 1.32.0", or "torch"


class Side(Noun):
    """One of the two models."""

    params: int
    macs: int
    pt_bytes: int | None
    file_bytes: int  # of the runtime's file or files
    latency: Timed
    val: Score
    final: Score


class FineTuneScores(Noun):
    """The task's metric on val, by torch, before and after the fine-tune of a bundle."""

    before: float
    after: float

    @property
    def kept(self) -> bool:
        """Whether the trained weights ship: those before it do, where it made them worse."""
        return self.after >= self.before


class WorseClass(Noun):
    """A class that lost more than WORSE_POINTS of AP50-95 on the final images."""

    name: str
    dense: float
    shipped: float


class ModelCard(FileNoun):
    """card.json of a bundle.

    Attributes:
        request: All that the bundle depends on; another request is another bundle.
        met: Whether the shipped file is within every limit that was asked for.
        missed: Which limits it is not within, in words.
        limit_ms: The latency limit.
        max_drop: mAP50-95 points that may be lost on the final images.
        fine_tune: Settings of the fine-tune that was asked for.
        fine_tuned: What it did; None where none was asked for.
        validated: Whether mAP is that of the exported files, answered by the runtime.
        checks: What was compared, and how far it is apart, a sentence each.
    """

    kind_of_file: ClassVar[str] = "card.json"

    request: dict[str, Any]
    command: str
    made: str
    met: bool
    missed: tuple[str, ...]
    limit_ms: float | None
    max_drop: float | None
    task: str
    classes: tuple[str, ...]
    branch: str | None
    imgsz: tuple[int, int]
    files: tuple[str, ...] = Field(min_length=1)
    weights: str
    fine_tune: dict[str, Any]
    fine_tuned: FineTuneScores | None = None
    data: dict[str, Any]
    fingerprint: Fingerprint
    versions: dict[str, str]
    dense: Side
    shipped: Side
    worse: tuple[WorseClass, ...]
    validated: bool
    checks: tuple[str, ...]
    notes: tuple[str, ...]
    licence: str
