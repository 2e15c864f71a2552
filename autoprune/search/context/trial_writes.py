"""Writes: what is to be written of one trial, as rows of Optuna's tables and as a trial."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.trial import FrozenTrial, TrialState


@dataclass
class Writes:
    """What is to be written of one trial.

    Attributes:
        params: Name -> (value as it is stored, distribution).
        user, system: Attributes.
        state: The trial's last one; None while it runs.
        values: Of a trial that is complete.
    """

    params: dict[str, tuple[float, BaseDistribution]] = field(default_factory=dict)
    user: dict[str, Any] = field(default_factory=dict)
    system: dict[str, Any] = field(default_factory=dict)
    state: TrialState | None = None
    values: Sequence[float] | None = None


def param_rows(trial_id: int, writes: Writes) -> list[dict[str, Any]]:
    """Rows of a trial's parameters."""
    return [
        {
            "trial_id": trial_id,
            "param_name": name,
            "param_value": value,
            "distribution_json": distribution_to_json(distribution),
        }
        for name, (value, distribution) in writes.params.items()
    ]


def with_writes(
    trial_id: int, trial: FrozenTrial, writes: Writes, written: datetime | None = None
) -> FrozenTrial:
    """A copy of a trial with what was written of it since."""
    stored = writes.params.items()
    given = {name: kind.to_external_repr(value) for name, (value, kind) in stored}
    values = trial.values if writes.values is None else [float(each) for each in writes.values]
    return FrozenTrial(
        number=trial.number,
        state=trial.state if writes.state is None else writes.state,
        value=None,
        values=values,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete if writes.state is None else written,
        params={**trial.params, **given},
        distributions={**trial.distributions, **{name: kind for name, (_, kind) in stored}},
        user_attrs={**trial.user_attrs, **_parsed(writes.user)},
        system_attrs={**trial.system_attrs, **_parsed(writes.system)},
        intermediate_values=dict(trial.intermediate_values),
        trial_id=trial_id,
    )


def _parsed(attributes: dict[str, Any]) -> dict[str, Any]:
    """As they come back from the database: a tuple as a list."""
    return {key: json.loads(json.dumps(content)) for key, content in attributes.items()}
