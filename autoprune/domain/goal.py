"""Goal: what the best plan must satisfy; Limit: the same in numbers, and the judge of records."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from autoprune.domain.record import LatencyResult, TrialRecord

GoalKind = Literal["budget_ms", "speedup", "max_drop"]


class Evidence(IntEnum):
    """What shows that a record meets a goal. Each kind is stronger than those above it.

    Where the goal is a latency it is about milliseconds; where it is an accuracy, about mAP.
    """

    NONE = 0  # nothing does, or it is known to miss
    PREDICTED = 1  # by the latency predictor; by the score without training
    MEASURED = 2  # the median on the target; mAP50-95 on val after the short fine-tune
    INTERVAL = 3  # all of the measured 95 % interval
    CONFIRMED = 4  # all of the interval of fresh processes, at the end

    def words(self) -> str:
        """For screens and reports."""
        return _WORDS[self]


_WORDS = {
    Evidence.NONE: "not within the goal",
    Evidence.PREDICTED: "predicted",
    Evidence.MEASURED: "measured, by its median",
    Evidence.INTERVAL: "measured",
    Evidence.CONFIRMED: "confirmed",
}


class Goal(BaseModel):
    """What the best plan must satisfy.

    `budget_ms`: latency <= value milliseconds. `speedup`: latency <= dense / value.
    `max_drop`: the fastest plan within `value` mAP50-95 points (of 100) of the dense model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: GoalKind
    value: float = Field(gt=0)

    @model_validator(mode="after")
    def _speedup_above_one(self) -> Goal:
        if self.kind == "speedup" and self.value <= 1:
            raise ValueError("a speed-up above 1")
        return self

    def budget_ms(self, dense_ms: float) -> float | None:
        """The latency limit in ms, or None when the goal is an accuracy limit."""
        if self.kind == "budget_ms":
            return self.value
        return dense_ms / self.value if self.kind == "speedup" else None

    def against(self, dense: TrialRecord) -> Limit:
        """The goal in numbers, once the dense model is measured.

        Raises:
            ValueError: The dense model's latency is not known yet.
        """
        if dense.latency is None:
            raise ValueError("the dense model was not measured")
        return Limit(self, dense.latency.median_ms, dense.map50_95 or 0.0)

    def text(self) -> str:
        """The goal in words, for screens and reports."""
        if self.kind == "budget_ms":
            return f"at most {self.value:g} ms"
        if self.kind == "speedup":
            return f"{self.value:g}x faster than dense"
        return f"fastest within {self.value:g} mAP points of dense"


@dataclass(frozen=True)
class Limit:
    """A goal against one dense model: whether a latency or a drop is within it is asked here.

    Attributes:
        goal: What was asked.
        dense_ms: Latency of the dense model, as calibrated.
        dense_map: Its mAP50-95 on val; 0 where it is not known.
    """

    goal: Goal
    dense_ms: float
    dense_map: float

    @cached_property
    def latency_ms(self) -> float | None:
        """The latency limit; None for an accuracy goal, which sets none."""
        return self.goal.budget_ms(self.dense_ms)

    @property
    def latency_share(self) -> float | None:
        """The latency limit relative to the dense model; None for an accuracy goal."""
        return None if self.latency_ms is None else self.latency_ms / self.dense_ms

    @cached_property
    def least_map(self) -> float:
        """The lowest mAP50-95 on val that an accuracy goal allows; 0 for a latency goal."""
        return self.dense_map - self.goal.value / 100 if self.goal.kind == "max_drop" else 0.0

    @property
    def sure(self) -> Evidence:
        """The kind of evidence beyond which one measurement cannot go."""
        return Evidence.MEASURED if self.latency_ms is None else Evidence.INTERVAL

    def judge(self, record: TrialRecord) -> Evidence:
        """The strongest evidence that a record meets the goal.

        A measurement counts more than a prediction and a steady confirmation more than both: a
        plan that it finds too slow is not within the limit, whatever an earlier look said. (Looked
        at often enough, any plan near the limit would pass once.)
        """
        if self.latency_ms is None:
            return self._judge_accuracy(record)
        again = record.confirmed
        if again is not None and self.judge_latency(again) >= Evidence.INTERVAL:
            return Evidence.CONFIRMED
        if again is not None and again.steady:
            return Evidence.NONE
        if record.latency is not None:
            return self.judge_latency(record.latency)
        if record.predicted_ms is not None:
            return self.judge_predicted(record.predicted_ms)
        return Evidence.NONE

    def judge_latency(self, result: LatencyResult) -> Evidence:
        """What one measurement shows: NONE, MEASURED or INTERVAL. Without a limit all is within."""
        if self.latency_ms is None or result.high_ms <= self.latency_ms:
            return Evidence.INTERVAL
        return Evidence.MEASURED if result.median_ms <= self.latency_ms else Evidence.NONE

    def judge_predicted(self, predicted_ms: float, room: float = 1.0) -> Evidence:
        """What a prediction shows: NONE or PREDICTED.

        Args:
            predicted_ms: By the latency predictor.
            room: Factor on the limit: above 1 to rule out only what is clearly too slow.
        """
        within = self.latency_ms is None or predicted_ms <= self.latency_ms * room
        return Evidence.PREDICTED if within else Evidence.NONE

    def nearly(self, result: LatencyResult) -> bool:
        """Whether a measured interval reaches down to the latency limit, or below it."""
        return self.latency_ms is None or result.low_ms <= self.latency_ms

    def tolerates(self, lost: float) -> bool:
        """Whether an accuracy goal allows so large a loss of mAP50-95, in [0, 1]."""
        return self.goal.kind != "max_drop" or lost <= self.goal.value / 100

    def refuted(self, record: TrialRecord) -> bool:
        """Whether a record was measured again and did not turn out to be within the limit."""
        return record.confirmed is not None and self.judge(record) < Evidence.CONFIRMED

    def _judge_accuracy(self, record: TrialRecord) -> Evidence:
        if record.map50_95 is not None:
            if record.map50_95 < self.least_map:
                return Evidence.NONE
            return Evidence.MEASURED if record.confirmed is None else Evidence.CONFIRMED
        untrained = record.untrained_map50_95
        within = untrained is not None and untrained >= self.least_map
        return Evidence.PREDICTED if within else Evidence.NONE


@dataclass(frozen=True)
class Standing:
    """The best record so far, and what shows that it meets the goal."""

    record: TrialRecord
    evidence: Evidence

    @property
    def name(self) -> str:
        """The record's."""
        return self.record.name

    @property
    def trained(self) -> bool:
        """Whether its mAP is of fine-tuned weights, or of the dense model's own."""
        return self.record.map50_95 is not None

    @property
    def map50_95(self) -> float:
        """On val: of the weights that are kept, else right after pruning; 0 where unknown."""
        kept = self.record.kept_score
        return kept.metrics.map50_95 if kept else self.record.untrained_map50_95 or 0.0

    @property
    def latency_ms(self) -> float:
        """As confirmed, else as measured, else as predicted; 0 where unknown."""
        measured = self.record.confirmed or self.record.latency
        return measured.median_ms if measured else self.record.predicted_ms or 0.0

    def words(self) -> str:
        """What is known of it: `predicted, without training`; `confirmed, fine-tuned`."""
        if self.record.kind == "dense":
            return f"{self.evidence.words()}, as given"
        return f"{self.evidence.words()}, {'fine-tuned' if self.trained else 'without training'}"
