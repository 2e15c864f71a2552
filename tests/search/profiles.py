"""Small profiles with invented costs, on a target whose law of latency is known exactly."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, cast

import numpy as np

from autoprune.latency.predictor import LatencyPredictor
from autoprune.search.learn.profile import Profile
from tests.latency.staircases import chain, law_ms

Array = np.ndarray[Any, Any]

GEOMETRY = chain()
DENSE_WIDTHS = np.array(GEOMETRY.widths)


@dataclass(frozen=True)
class KnownLaw:
    """Stands in for a LatencyPredictor that makes no mistakes."""

    block: int = 16
    align: int = 4

    def predict(self, kept: Array) -> Array:
        dense_ms = law_ms(GEOMETRY, DENSE_WIDTHS[None], self.block, self.align)
        return law_ms(GEOMETRY, np.asarray(kept), self.block, self.align) / dense_ms


def random_profile(seed: int, parameters: int = 5, step: int = 16) -> Profile:
    """Parameters over the first groups of the chain, with random costs that rise as channels go.

    The groups beyond keep all their channels, as a protected index does.
    """
    dice = np.random.default_rng(seed)
    choices, costs = [], []
    for width in GEOMETRY.widths[:parameters]:
        offered = (*range(step, width, step), width)[-5:]
        falls = dice.gamma(0.7, 0.05, len(offered) - 1)
        choices.append(offered)
        costs.append(np.concatenate([np.cumsum(falls)[::-1], [0.0]]))
    return Profile(
        names=tuple(f"keep_{number}" for number in range(parameters)),
        choices=tuple(choices),
        costs=tuple(costs),
        predictor=cast(LatencyPredictor, KnownLaw()),
        group_widths=tuple(np.array(offered)[:, None] for offered in choices),
        group_columns=tuple(np.array([number]) for number in range(parameters)),
        least_pruned=DENSE_WIDTHS,
    )


def every_plan(profile: Profile) -> Array:
    """All rows of positions, (plans, parameters)."""
    return np.array(list(product(*(range(len(offered)) for offered in profile.choices))))


def total_costs(profile: Profile, rows: Array, factors: Array | None = None) -> Array:
    """Costs of plans, each parameter's times its factor, shape (plans,)."""
    by_parameter = profile.cost_rows(rows)
    total: Array = (by_parameter if factors is None else by_parameter * factors).sum(axis=1)
    return total
