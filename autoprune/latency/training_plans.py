"""Random plans that teach a latency predictor: mild to strong, on and off the channel blocks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from autoprune.domain.plan import PruningPlan, Ratio, as_entry

STRONGEST = 0.85
_GOLDEN = 0.6180339887498949  # any number of first terms of its multiples is spread evenly
_SCATTER = (0.1, 0.2, 0.3)  # standard deviation of an index's ratio around the plan's, in turn
_ROUND_TO = (16, 1, 8, 4, 16, 1, 8, 2)  # tells blocks and alignments from each other


def training_plan(widths: Mapping[int, tuple[int, ...]], seed: int, number: int) -> PruningPlan:
    """Plan `number` of an endless sequence; depends on seed and number only.

    Args:
        widths: Layer index -> reference widths, as a family gives them.
        seed: Chooses the sequence.
        number: From 0.
    """
    dice = np.random.default_rng([seed, number])
    strength = STRONGEST * ((number + 0.5) * _GOLDEN % 1)
    scatter = _SCATTER[number % len(_SCATTER)]

    def ratio() -> float:
        return float(np.clip(strength + dice.normal(0, scatter), 0, STRONGEST))

    ratios: dict[int, Ratio] = {}
    for index, reference in widths.items():
        ratios[index] = as_entry(tuple(ratio() for _ in reference))
    return PruningPlan(ratios, round_to=_ROUND_TO[number % len(_ROUND_TO)])
