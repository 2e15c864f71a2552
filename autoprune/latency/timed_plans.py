"""LatencyTable: plans timed on one target, kept in a file that grows batch by batch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from autoprune.domain.geometry import ModelGeometry
from autoprune.domain.record import FileNoun, Fingerprint, LatencyResult, Noun
from autoprune.errors import StudyMismatch
from autoprune.latency.measure import refuse_other_fingerprint
from autoprune.latency.predictor import LatencyPredictor
from autoprune.latency.predictor_fit import fit_predictor


class TimedPlan(Noun):
    """One plan's latency ratio to dense with its 95 % interval."""

    kept: tuple[int, ...]  # per channel group, in the order of Pruner.signature
    ratio: float = Field(gt=0)
    low: float = Field(gt=0)
    high: float = Field(gt=0)
    timings: int = 1  # how often it was timed; the most certain one is kept

    @classmethod
    def of(cls, kept: tuple[int, ...], result: LatencyResult) -> TimedPlan:
        """What a measurement says about a plan."""
        return cls(kept=kept, ratio=result.ratio, low=result.ratio_low, high=result.ratio_high)

    @property
    def half_width(self) -> float:
        """Half of the interval's width on the log scale, about the relative error."""
        return abs(math.log(self.high / self.low)) / 2


class LatencyTable(FileNoun):
    """Timed plans of one model at one image size on one target."""

    kind_of_file: ClassVar[str] = "latency_table.json"

    geometry: str  # ModelGeometry.digest
    fingerprint: Fingerprint
    plans: tuple[TimedPlan, ...]
    seconds: float  # spent so far, over all calls

    @property
    def known(self) -> dict[tuple[int, ...], TimedPlan]:
        """Kept channels -> the plan."""
        return {plan.kept: plan for plan in self.plans}

    def merged(self, other: LatencyTable) -> LatencyTable:
        """With another table's plans; of two timings of one plan the more certain stays.

        Raises:
            StudyMismatch: They were timed under other conditions.
        """
        refuse_other_fingerprint(self.fingerprint, other.fingerprint)
        known = self.known
        for plan in other.plans:
            earlier = known.get(plan.kept, plan)
            better = min(earlier, plan, key=lambda each: each.half_width)
            again = 0 if earlier is plan else earlier.timings
            known[plan.kept] = better.model_copy(update={"timings": plan.timings + again})
        seconds = self.seconds + other.seconds
        return self.model_copy(update={"plans": tuple(known.values()), "seconds": seconds})

    def fit(self, geometry: ModelGeometry) -> LatencyPredictor:
        """Learn a predictor from all plans.

        Raises:
            ValueError: Too few plans, see `fit_predictor`.
        """
        kept = np.array([plan.kept for plan in self.plans])
        ratios = np.array([plan.ratio for plan in self.plans])
        spread = np.array([plan.half_width for plan in self.plans]) / 1.96
        return fit_predictor(geometry, kept, ratios, spread)

    @classmethod
    def load_for(cls, path: Path, geometry: ModelGeometry) -> LatencyTable:
        """Read a table of a model and an image size.

        Raises:
            ConfigError: Missing, not JSON, or not a table.
            StudyMismatch: Of another model or image size.
        """
        table = cls.load(path)
        if table.geometry != geometry.digest:
            change = f"{table.geometry} -> {geometry.digest}"
            raise StudyMismatch(f"{path}: timed for another model or image size: {change}")
        return table
