"""The cheapest plan within a latency limit, for additive costs: greedy descent, then exchanges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from autoprune.search.profile import Profile

Array = np.ndarray[Any, Any]

EXCHANGE_ROUNDS = 60


def cheapest_plan(profile: Profile, weights: Array, limit_ratio: float) -> Array:
    """Find a plan of least total cost whose predicted latency is within a limit.

    From the dense plan, the step that saves most latency per cost is taken until the limit is
    met. Then pairs of parameters are exchanged, one a step wider and one narrower, as long as
    that lowers the cost within the limit. Not proven optimal; see the tests for how close it comes.

    Args:
        profile: Costs and latencies of all choices.
        weights: Factor on each parameter's costs, shape (parameters,).
        limit_ratio: Latency limit relative to the dense model.

    Returns:
        Positions of the choices, one per parameter; the fastest plan found when none is within.
    """
    costs = [table * weight for table, weight in zip(profile.costs, weights, strict=True)]
    plan = _greedy(profile, costs, profile.dense, limit_ratio)
    for _ in range(EXCHANGE_ROUNDS):
        better = _best_exchange(profile, costs, plan, limit_ratio)
        if better is None:
            break
        plan = better
    return plan


def _greedy(profile: Profile, costs: list[Array], start: Array, limit_ratio: float) -> Array:
    plan = start.copy()
    latency = float(profile.latency_ratios(plan[None])[0])
    while latency > limit_ratio:
        # every narrower width, not the next alone: latency is a staircase
        rows = [
            _with(plan, parameter, position)
            for parameter, now in enumerate(plan)
            for position in range(now)
        ]
        if not rows:
            break
        candidates = np.array(rows)
        latencies = profile.latency_ratios(candidates)
        saved = latency - np.maximum(latencies, limit_ratio)
        paid = np.array([_total(costs, row) for row in candidates]) - _total(costs, plan)
        gain = np.where(saved > 1e-6, saved / np.maximum(paid, 1e-12), -np.inf)
        best = int(gain.argmax())
        if gain[best] == -np.inf:  # nothing makes it faster any more
            break
        plan, latency = candidates[best], float(latencies[best])
    return plan


def _best_exchange(
    profile: Profile, costs: list[Array], plan: Array, limit_ratio: float
) -> Array | None:
    """The cheapest neighbour within the limit, if it is cheaper than the plan."""
    rows = np.array(list(_neighbours(plan, profile.dense)))
    totals = np.array([_total(costs, row) for row in rows])
    promising = totals < _total(costs, plan) - 1e-12
    rows, totals = rows[promising], totals[promising]
    if not len(rows):
        return None
    fits = profile.latency_ratios(rows) <= limit_ratio
    if not fits.any():
        return None
    best: Array = rows[fits][totals[fits].argmin()]
    return best


def _neighbours(plan: Array, dense: Array) -> Iterator[Array]:
    """One parameter a step or two wider, alone or with another one a step or two narrower."""
    for up in range(len(plan)):
        for wider in (1, 2):
            if plan[up] + wider > dense[up]:
                continue
            raised = _with(plan, up, plan[up] + wider)
            yield raised
            for down in range(len(plan)):
                for narrower in (1, 2):
                    if down != up and plan[down] >= narrower:
                        yield _with(raised, down, plan[down] - narrower)


def _with(plan: Array, parameter: int, position: int) -> Array:
    changed = plan.copy()
    changed[parameter] = position
    return changed


def _total(costs: list[Array], plan: Array) -> float:
    return float(sum(table[position] for table, position in zip(costs, plan, strict=True)))
