"""The cheapest plan within a latency limit, for additive costs: greedy descent, then exchanges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from autoprune.search.learn.profile import Profile

Array = np.ndarray[Any, Any]

EXCHANGE_ROUNDS = 60
STARTS = 4  # descents from the dense plan: one by the true costs, the others by disturbed ones
DISTURBANCE = 0.6  # of a parameter's costs, in the logarithm
LEAST_SAVING = 1e-6  # ratios that differ by less are the same


def cheapest_plan(profile: Profile, weights: Array, limit_ratio: float) -> Array:
    """Find a plan of least total cost whose predicted latency is within a limit.

    From the dense plan, the step that saves most latency per cost is taken until the limit is
    met. Then pairs of parameters are exchanged, one a step wider and one narrower, as long as
    that lowers the cost within the limit. Descents by disturbed costs end elsewhere; the best of
    all is returned. Not proven optimal; see the tests for how close it comes.

    Args:
        profile: Costs and latencies of all choices.
        weights: Factor on each parameter's costs, shape (parameters,).
        limit_ratio: Latency limit relative to the dense model.

    Returns:
        Positions of the choices, one per parameter; the fastest plan found when none is within.
    """
    costs = [table * weight for table, weight in zip(profile.costs, weights, strict=True)]
    dice = np.random.default_rng(0)
    found: dict[tuple[int, ...], Array] = {}
    for start in range(STARTS):
        spread = DISTURBANCE if start else 0.0
        factors = np.exp(dice.normal(0, spread, len(costs)))
        disturbed = [table * factor for table, factor in zip(costs, factors, strict=True)]
        plan = _greedy(profile, disturbed, profile.dense, limit_ratio)
        found[tuple(plan)] = _exchanged(profile, costs, plan, limit_ratio)
    plans = np.array(list(found.values()))
    within = plans[profile.latency_ratios(plans) <= limit_ratio]
    if len(within):
        best: Array = within[np.argmin([_total(costs, plan) for plan in within])]
        return best
    # No single step made those any faster; another corner may be within the limit all the same.
    narrowest = _fastest(profile, np.zeros_like(profile.dense))
    plans = np.array([*plans, _exchanged(profile, costs, narrowest, limit_ratio)])
    fastest: Array = plans[profile.latency_ratios(plans).argmin()]
    return fastest


def _exchanged(profile: Profile, costs: list[Array], plan: Array, limit_ratio: float) -> Array:
    """The plan after all exchanges that lower its cost within the limit."""
    for _ in range(EXCHANGE_ROUNDS):
        better = _best_exchange(profile, costs, plan, limit_ratio)
        if better is None:
            break
        plan = better
    return plan


def _fastest(profile: Profile, plan: Array) -> Array:
    """The plan after changing one parameter at a time, as long as that makes it faster."""
    latency = float(profile.latency_ratios(plan[None])[0])
    while True:
        rows = np.array(
            [
                _with(plan, parameter, position)
                for parameter, widest in enumerate(profile.dense)
                for position in range(widest + 1)
            ]
        )
        latencies = profile.latency_ratios(rows)
        best = int(latencies.argmin())
        if latencies[best] > latency - LEAST_SAVING:
            return plan
        plan, latency = rows[best], float(latencies[best])


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
        gain = np.where(saved > LEAST_SAVING, saved / np.maximum(paid, 1e-12), -np.inf)
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
