"""What the Optuna study minimises or maximises, and when a plan counts as feasible.

The study sees predicted latencies and scores without training: finished values of a trial can never
change. What is measured and trained later lives in the records.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from autoprune.domain.goal import Limit
from autoprune.domain.record import TrialRecord, finite


@dataclass(frozen=True)
class Objective:
    """One column of the study's values."""

    name: str
    direction: Literal["minimize", "maximize"]
    value: Callable[[TrialRecord], float]


def _params(record: TrialRecord) -> float:
    if record.size is None:
        raise ValueError(f"{record.name} has no size")
    return float(record.size.params)


def _predicted(record: TrialRecord) -> float:
    if record.predicted_ms is None:
        raise ValueError(f"{record.name} has no predicted latency")
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


def constraint_of(record: TrialRecord, limit: Limit) -> tuple[str, float]:
    """Name and value of the goal's constraint; <= 0 is feasible.

    A plan over the latency budget is told to Optuna with its real size, its latency, mAP 0 and
    this violated constraint: a pruned or failed trial would teach NSGA-II nothing.
    """
    if limit.latency_ms is not None:
        return "latency_over_budget_ms", _predicted(record) - limit.latency_ms
    return "map50_95_below_limit", limit.least_map - (record.untrained_map50_95 or 0.0)
