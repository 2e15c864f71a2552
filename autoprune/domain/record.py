"""TrialRecord and its parts: everything measured about one candidate, as JSON in and out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from autoprune.domain.plan import PruningPlan
from autoprune.domain.schema import load_json, parse_json, save_json
from autoprune.domain.task import BOX_METRIC
from autoprune.domain.validation import config_error
from autoprune.errors import BrokenContent, FailureReason

if TYPE_CHECKING:
    from typing_extensions import Self


class Noun(BaseModel):
    """Frozen, refuses unknown keys and nan/inf."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FileNoun(Noun):
    """A noun that is kept as a JSON file of its own, with a schema version."""

    kind_of_file: ClassVar[str]  # a key of schema.VERSIONS

    def save(self, path: Path) -> None:
        """Write the file atomically."""
        save_json(self.kind_of_file, path, self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ConfigError: Missing, or of a newer schema.
            BrokenContent: Not JSON, or something else; names the key.
        """
        return cls.checked(load_json(cls.kind_of_file, path), path)

    @classmethod
    def parsed(cls, text: str, path: Path) -> Self:
        """Read the content of a file as `load` does.

        Raises:
            ConfigError: As `load`; `path` names it.
        """
        return cls.checked(parse_json(cls.kind_of_file, text, str(path)), path)

    @classmethod
    def checked(cls, content: dict[Any, Any], path: Path) -> Self:
        """Make it of a file's content.

        Raises:
            BrokenContent: Names the file and the first wrong key.
        """
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise BrokenContent(str(config_error(error, str(path), cls))) from None


class Fingerprint(Noun):
    """What a latency depends on besides the model; different fingerprints are never compared."""

    runtime: str  # a name in the table of runtimes
    runtime_version: str
    provider: str  # what the runtime ran on, as it calls it
    precision: str = "fp32"  # what it computed in
    threads: int
    cpu: str
    isa: str  # widest vector extension seen, e.g. "avx512", "avx2", "neon"
    system: str  # e.g. "Linux x86_64"
    imgsz: tuple[int, int]  # height, width in pixels
    batch: int
    runner_version: int


LASTING_CHANGE_ALLOWED = 0.12
"""Of the machine's speed within one steady measurement: half-way, in the logarithm, to 30 %."""


class LatencyResult(Noun):
    """Time of one forward pass at batch 1, measured interleaved with the dense model.

    `median_ms = ratio * dense_ms`; the 95 % interval includes the dense time's own error. Timed in
    several processes, the interval reaches from the lowest bound of theirs to the highest.
    """

    median_ms: float = Field(gt=0)
    p90_ms: float = Field(gt=0)
    low_ms: float
    high_ms: float = Field(gt=0)
    ratio: float = Field(gt=0)  # to the dense model; 1.0 for the dense model itself
    ratio_low: float
    ratio_high: float
    dense_ms: float = Field(gt=0)  # as calibrated
    dense_now_ms: float | None = None  # as it ran beside this model
    blocks: int
    processes: int = 1  # that timed it, one after the other
    steady: bool  # False: the interval is still wide at the time cap, or the speed changed
    lasting_change: float = 0.0  # of the machine's speed meanwhile, 0.3: dense took 30 % longer
    samples_ms: tuple[float, ...]  # the candidate's raw times
    dense_samples_ms: tuple[float, ...]
    load_1min: float | None  # the machine's load average when the measurement began
    fingerprint: Fingerprint


class DetectionMetrics(Noun):
    """Accuracy on one split of the data: the main metric of the model's task."""

    map50: float = Field(ge=0, le=1)
    map50_95: float = Field(ge=0, le=1)
    metric: str = BOX_METRIC  # what map50_95 is, of which map50 is the easier kind
    split: str  # "val", "test" or "held-out part of val"
    images: int = Field(ge=0)


UNTRAINED, SHORT, LONG = 0, 1, 2
"""Rungs: right after pruning; after the short fine-tune; after a longer one."""


class RungScore(Noun):
    """Accuracy after one level of training effort. Scores of different rungs are never compared."""

    rung: int  # UNTRAINED, SHORT or LONG
    epochs: int
    images_seen: int
    lr0: float | None = None  # initial learning rate of the fine-tune
    frozen_norms: bool = False  # whether its batch norms kept their mean and variance
    seconds: float
    metrics: DetectionMetrics  # of what is deployed: in INT8, of the exported file
    float_metrics: DetectionMetrics | None = None  # where that is so, of the model it was made of
    final: DetectionMetrics | None = None  # of rung LONG, on images the search never used

    @property
    def float_map50_95(self) -> float:
        """mAP50-95 of the model in float, whatever is deployed."""
        return (self.float_metrics or self.metrics).map50_95


class ModelSize(Noun):
    """Parameters, and multiply-accumulates of one forward pass at the study's image size."""

    params: int = Field(ge=0)
    macs: int = Field(ge=0)


class Failure(Noun):
    """Why a candidate failed."""

    reason: FailureReason
    detail: str


def _indices_are_numbers(plan: dict[str, Any]) -> dict[str, Any]:
    """JSON turns the layer indices into text; turn them back."""
    ratios = plan.get("prune_ratios")
    if not isinstance(ratios, dict):
        raise ValueError("a plan with prune_ratios")
    return {**plan, "prune_ratios": {int(index): value for index, value in ratios.items()}}


PlanMapping = Annotated[dict[str, Any], AfterValidator(_indices_are_numbers)]
"""PruningPlan.to_mapping()."""

State = Literal["scored", "complete", "over_budget", "failed"]
"""scored: without training, not promoted. complete: measured and fine-tuned."""


class TrialRecord(FileNoun):
    """One candidate: a trial of the study, the dense model, or a baseline.

    `number` is Optuna's trial number, None for the dense model and the baselines.
    """

    kind_of_file: ClassVar[str] = "record.json"

    kind: Literal["dense", "baseline", "trial"]
    name: str  # "dense", "uniform-0.30", "trial 7"
    number: int | None
    state: State
    plan: PlanMapping
    kept: dict[int, tuple[int, ...]]  # layer index -> kept width(s) of its output(s)
    size: ModelSize | None = None
    predicted_ms: float | None = Field(
        default=None, gt=0
    )  # by the latency predictor, before anything was exported
    latency: LatencyResult | None = None
    confirmed: LatencyResult | None = None  # re-measured at the end in fresh processes
    float_latency: LatencyResult | None = None  # in an INT8 study: of the same model in float
    rungs: tuple[RungScore, ...] = ()
    untrained_kept: bool = False  # the short fine-tune made it no better: weights as pruned
    final: DetectionMetrics | None = None  # of what rung SHORT left, on images never used
    failure: Failure | None = None
    same_as: str | None = None  # name of the earlier record of the same plan, whose result this is
    taken_from: str | None = None  # "study/trial 3": made there, for another goal
    notes: tuple[str, ...] = ()  # what makes its numbers odd, a sentence each without full stop
    started: str  # ISO 8601, UTC
    seconds: float

    def at_rung(self, rung: int) -> RungScore | None:
        """The score at a rung, or None when it was not reached."""
        return next((score for score in self.rungs if score.rung == rung), None)

    @property
    def compared(self) -> RungScore | None:
        """The score that records are compared on; None where nothing was trained.

        Of the weights that the short fine-tune left: its own, or, where it made them no better,
        those as pruned. Of the dense model as given.
        """
        as_given = self.kind == "dense" or self.untrained_kept
        return self.at_rung(UNTRAINED if as_given else SHORT)

    @property
    def metric(self) -> str:
        """The main metric of the model's task, in words."""
        return self.rungs[0].metrics.metric if self.rungs else BOX_METRIC

    @property
    def map50_95(self) -> float | None:
        """mAP50-95 on val that records are compared on, or None when nothing was trained."""
        score = self.compared
        return score.metrics.map50_95 if score else None

    @property
    def kept_score(self) -> RungScore | None:
        """The score of the weights that were kept: of the longer fine-tune, if that was better."""
        longer = self.at_rung(LONG)
        if longer is not None and longer.final is not None:
            return longer
        return self.compared

    @property
    def fine_tuned_map50_95(self) -> float | None:
        """mAP50-95 on val right after the short fine-tune, whether or not its weights were kept."""
        score = self.at_rung(SHORT)
        return score.metrics.map50_95 if score else None

    @property
    def untrained_map50_95(self) -> float | None:
        """mAP50-95 on val right after pruning, without training; in float, even in INT8 studies."""
        score = self.at_rung(UNTRAINED)
        return score.float_map50_95 if score else None

    def pruning_plan(self) -> PruningPlan:
        """The candidate's plan."""
        return PruningPlan.from_mapping(self.plan, self.name)


def finite(value: float, what: str) -> float:
    """Return `value`, refusing nan and inf: `tell(inf)` would count as a finished Optuna trial.

    Raises:
        ValueError: `value` is nan or infinite.
    """
    if not math.isfinite(value):
        raise ValueError(f"{what} is {value}")
    return value
