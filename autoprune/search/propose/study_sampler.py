"""The sampler of one study: made afresh for each trial, or once where its draws are a sequence."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from autoprune.search.propose.samplers import SAMPLERS, Known


def study_sampler(name: str, known: Known, seed: int) -> BaseSampler:
    """The sampler of a study, new or resumed.

    Args:
        name: A name in the table of samplers.
        known: What it may know besides the trials.
        seed: The study's.

    Raises:
        ConfigError: No such sampler.
    """
    spec = SAMPLERS.row(name, "--sampler")

    def make(seed: int) -> BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # which one is, is ours to know
            return spec.make(known, seed)

    return make(seed) if spec.sequence else FreshPerTrial(make, seed)


class FreshPerTrial(BaseSampler):
    """Hands each trial to a new sampler seeded from (study seed, trial number).

    A sampler re-seeded on resume would not continue the sequence it began; this one has no
    sequence to lose.

    Args:
        make: Seed -> sampler.
        seed: The study's.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self._make = make
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
