"""Samplers by name, each made afresh per trial so that a resumed study draws the same plans."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from autoprune.domain.config import SamplerName
from autoprune.search.learn.profile import Profile
from autoprune.search.propose.profile_sampler import ProfileSampler

STARTUP_TRIALS = 8  # TPE draws at random until this many trials are finished


@dataclass(frozen=True)
class Known:
    """What a sampler may know besides the trials.

    Attributes:
        profile: Costs and predicted latencies of all choices.
        limit_ratio: Latency limit relative to the dense model; None for an accuracy goal.
        dense_map: mAP50-95 of the dense model.
    """

    profile: Profile
    limit_ratio: float | None
    dense_map: float


def profile(known: Known, seed: int) -> BaseSampler:
    """Thompson sampling in the profile's additive model, solved for latency."""
    return ProfileSampler(known.profile, known.limit_ratio, known.dense_map, seed)


def tpe(known: Known, seed: int) -> BaseSampler:
    """Multivariate tree-structured Parzen estimator: ranks plans jointly over all indices."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # multivariate is marked so
        return TPESampler(seed=seed, multivariate=True, n_startup_trials=STARTUP_TRIALS)


def nsga2(known: Known, seed: int) -> BaseSampler:
    """Genetic search over generations of 20."""
    return NSGAIISampler(seed=seed, population_size=20)


def random(known: Known, seed: int) -> BaseSampler:
    """Independent uniform draws."""
    return RandomSampler(seed=seed)


SAMPLERS: dict[SamplerName, Callable[[Known, int], BaseSampler]] = {
    "profile": profile,
    "tpe": tpe,
    "nsga2": nsga2,
    "random": random,
}


class FreshPerTrial(BaseSampler):
    """Hands each trial to a new sampler seeded from (study seed, trial number).

    A sampler re-seeded on resume would not continue the sequence it began; this one has no
    sequence to lose.
    """

    def __init__(self, name: SamplerName, known: Known, seed: int) -> None:
        self._make = partial(SAMPLERS[name], known)
        self._seed = seed
        self._number: int | None = None
        self._current: BaseSampler = self._make(seed)

    def _for(self, trial: FrozenTrial) -> BaseSampler:
        if trial.number != self._number:
            state = np.random.SeedSequence([self._seed, trial.number]).generate_state(1)
            self._current = self._make(int(state[0]))
            self._number = trial.number
        return self._current

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Ask this trial's sampler."""
        return self._for(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Ask this trial's sampler."""
        return self._for(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Ask this trial's sampler."""
        return self._for(trial).sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Tell this trial's sampler."""
        self._for(trial).before_trial(study, trial)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Tell this trial's sampler."""
        self._for(trial).after_trial(study, trial, state, values)
