"""Kept widths as Optuna describes them, and as a trial suggests them."""

from __future__ import annotations

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution

from autoprune.search.propose.distributions import distribution_of, suggested


def test_unevenly_spaced_widths_are_listed_and_even_ones_are_steps() -> None:
    assert distribution_of((24, 64)) == IntDistribution(24, 64, step=40)
    assert distribution_of((8, 16, 24)) == IntDistribution(8, 24, step=8)
    assert distribution_of((8, 16, 64)) == CategoricalDistribution((8, 16, 64))


@pytest.mark.parametrize("offered", [(24, 64), (8, 16, 24), (8, 16, 64)])
def test_a_trial_suggests_from_the_same_distribution(offered: tuple[int, ...]) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = set()
    for _ in range(20):
        trial = study.ask()
        drawn.add(suggested(trial, "keep", offered))
        assert trial.distributions == {"keep": distribution_of(offered)}
    assert drawn == set(offered)
