"""Samplers repeat themselves, also across an interruption."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from autoprune.search.propose.samplers import SAMPLERS, Known
from autoprune.search.propose.study_sampler import study_sampler
from tests.search.profiles import random_profile

PROFILE = random_profile(0)
WIDTHS = {
    name: (offered[0], offered[-1])
    for name, offered in zip(PROFILE.names, PROFILE.choices, strict=True)
}
LIMIT = 280


def _study(storage: str | None, sampler: str, seed: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name="s",
        storage=storage,
        sampler=study_sampler(sampler, Known(PROFILE, 0.9, 1.0), seed),
        directions=["minimize", "minimize", "maximize"],
        load_if_exists=True,
    )


def _draw(study: optuna.Study, trials: int) -> list[tuple[int, ...]]:
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


@pytest.mark.parametrize("sampler", SAMPLERS.names())
def test_the_same_seed_draws_the_same_plans(sampler: str) -> None:
    assert _draw(_study(None, sampler, 3), 15) == _draw(_study(None, sampler, 3), 15)
    assert _draw(_study(None, sampler, 3), 3) != _draw(_study(None, sampler, 4), 3)


@pytest.mark.parametrize("sampler", SAMPLERS.names())
def test_an_interrupted_study_draws_what_an_uninterrupted_one_does(
    sampler: str, tmp_path: Path
) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    resumed = _draw(_study(storage, sampler, 1), 7) + _draw(_study(storage, sampler, 1), 8)
    assert resumed == _draw(_study(None, sampler, 1), 15)


def test_tpe_learns_to_stay_within_the_constraint() -> None:
    plans = _draw(_study(None, "tpe", 0), 60)
    within = [sum(plan) <= LIMIT for plan in plans]
    assert sum(within[-20:]) > sum(within[:8]) / 8 * 20
