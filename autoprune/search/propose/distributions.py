"""How Optuna describes a parameter's kept widths, and how a trial suggests one of them."""

from __future__ import annotations

from itertools import pairwise

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import Trial


def distribution_of(offered: tuple[int, ...]) -> BaseDistribution:
    """Evenly spaced widths are steps, all others are listed.

    Args:
        offered: Kept widths, ascending.
    """
    steps = {after - before for before, after in pairwise(offered)}
    if len(steps) == 1:
        return IntDistribution(offered[0], offered[-1], step=steps.pop())
    return CategoricalDistribution(offered)


def suggested(trial: Trial, name: str, offered: tuple[int, ...]) -> int:
    """A width that the trial's sampler chooses, from the same distribution."""
    distribution = distribution_of(offered)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, distribution.low, distribution.high, step=distribution.step)
    return int(trial.suggest_categorical(name, offered))
