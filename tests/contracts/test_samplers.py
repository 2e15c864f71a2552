"""What every sampler promises: it repeats itself, also across an interruption."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest

from autoprune.search.propose.distributions import suggested
from autoprune.search.propose.samplers import SAMPLERS, Known
from autoprune.search.propose.study_sampler import study_sampler
from tests.search.draws import PROFILE, WIDTHS, draw, study_of


@pytest.mark.parametrize("sampler", SAMPLERS.names())
def test_the_same_seed_draws_the_same_plans(sampler: str) -> None:
    assert draw(study_of(None, sampler, 3), 15) == draw(study_of(None, sampler, 3), 15)
    assert draw(study_of(None, sampler, 3), 3) != draw(study_of(None, sampler, 4), 3)


@pytest.mark.parametrize("sampler", SAMPLERS.names())
def test_an_interrupted_study_draws_what_an_uninterrupted_one_does(
    sampler: str, tmp_path: Path
) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    resumed = draw(study_of(storage, sampler, 1), 7) + draw(study_of(storage, sampler, 1), 8)
    assert resumed == draw(study_of(None, sampler, 1), 15)


@pytest.mark.parametrize("sampler", SAMPLERS.names())
def test_it_takes_what_is_enqueued_and_goes_on_with_its_own(sampler: str) -> None:
    study = study_of(None, sampler, 0)
    wanted = {name: low for name, (low, _) in WIDTHS.items()}
    study.enqueue_trial(wanted)
    first, *others = draw(study, 8)
    assert first == tuple(wanted.values())
    assert len(set(others)) > 4


@pytest.mark.parametrize("sampler", SAMPLERS.names())
def test_unevenly_spaced_widths_and_an_accuracy_goal_are_no_trouble(sampler: str) -> None:
    uneven = {"keep_0": (16, 32, 40), "keep_1": (8, 64)}
    profile = replace(
        PROFILE,
        names=tuple(uneven),
        choices=tuple(uneven.values()),
        costs=tuple(np.linspace(0.1, 0.0, len(offered)) for offered in uneven.values()),
        group_widths=tuple(np.array(offered)[:, None] for offered in uneven.values()),
        group_columns=(np.array([0]), np.array([1])),
    )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        sampler=study_sampler(sampler, Known(profile, None, 0.8), 0),
        directions=["minimize", "minimize", "maximize"],
    )
    for _ in range(12):
        trial = study.ask()
        kept = {name: suggested(trial, name, offered) for name, offered in uneven.items()}
        assert all(width in uneven[name] for name, width in kept.items())
        study.tell(trial, [1.0, 1.0, 0.5])
