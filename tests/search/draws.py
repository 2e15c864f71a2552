"""A study that any sampler can draw from, told an invented size, latency and score."""

from __future__ import annotations

import optuna

from autoprune.search.propose.samplers import Known
from autoprune.search.propose.study_sampler import study_sampler
from tests.search.profiles import random_profile

PROFILE = random_profile(0)
WIDTHS = {
    name: (offered[0], offered[-1])
    for name, offered in zip(PROFILE.names, PROFILE.choices, strict=True)
}
LIMIT = 280


def study_of(storage: str | None, sampler: str, seed: int) -> optuna.Study:
    """New, or continued where the storage holds it."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name="s",
        storage=storage,
        sampler=study_sampler(sampler, Known(PROFILE, 0.9, 1.0), seed),
        directions=["minimize", "minimize", "maximize"],
        load_if_exists=True,
    )


def draw(study: optuna.Study, trials: int) -> list[tuple[int, ...]]:
    """The plans of so many trials; the constraint is violated above LIMIT channels."""
    plans = []
    for _ in range(trials):
        trial = study.ask()
        plan = tuple(
            trial.suggest_int(name, low, high, step=16) for name, (low, high) in WIDTHS.items()
        )
        size = float(sum(plan))
        trial.set_constraint("latency_over_budget_ms", size - LIMIT)
        study.tell(trial, [size, size**0.5, 1 - 1 / size])
        plans.append(plan)
    return plans
