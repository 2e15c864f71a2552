"""What the Optuna study minimises or maximises, and when a plan counts as feasible.

The study sees predicted latencies and scores without training: finished values of a trial can never
change. What is measured and trained later lives in the records.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from autoprune.domain.config import Goal
from autoprune.domain.record import TrialRecord, finite


@dataclass(frozen=True)
class Objective:
    """One column of the study's values."""

    name: str
    direction: Literal["minimize", "maximize"]
    value: Callable[[TrialRecord], float]


def _params(record: TrialRecord) -> float:
    assert record.size is not None
    return float(record.size.params)


def _predicted(record: TrialRecord) -> float:
    assert record.predicted_ms is not None
    return record.predicted_ms


def _untrained(record: TrialRecord) -> float:
    return record.untrained_map50_95 or 0.0  # over budget: never validated


OBJECTIVES = (
    Objective("params", "minimize", _params),
    Objective("predicted_latency_ms", "minimize", _predicted),
    Objective("untrained_map50_95", "maximize", _untrained),
)


def values_of(record: TrialRecord) -> list[float]:
    """The record's objective values, in the study's order; never nan or inf."""
    return [finite(objective.value(record), objective.name) for objective in OBJECTIVES]


def constraint_of(record: TrialRecord, goal: Goal, dense: TrialRecord) -> tuple[str, float]:
    """Name and value of the goal's constraint; <= 0 is feasible.

    A plan over the latency budget is told to Optuna with its real size, its latency, mAP 0 and
    this violated constraint: a pruned or failed trial would teach NSGA-II nothing.
    """
    assert dense.latency is not None
    assert record.predicted_ms is not None
    budget_ms = goal.budget_ms(dense.latency.median_ms)
    if budget_ms is not None:
        return "latency_over_budget_ms", record.predicted_ms - budget_ms
    least = (dense.map50_95 or 0.0) - goal.value / 100
    return "map50_95_below_limit", least - (record.untrained_map50_95 or 0.0)
