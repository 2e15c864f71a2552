"""The cheapest plan within a latency limit, for additive costs: greedy descent, then exchanges."""

from __future__ import annotations

from functools import lru_cache
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
    tables = []
    for start in range(STARTS):
        factors = np.exp(dice.normal(0, DISTURBANCE if start else 0.0, len(costs)))
        tables.append([table * factor for table, factor in zip(costs, factors, strict=True)])
    descents = {tuple(plan): plan for plan in _greedy(profile, tables, limit_ratio)}
    found = [_exchanged(profile, costs, plan, limit_ratio) for plan in descents.values()]
    plans = np.array(found)
    within = plans[profile.latency_ratios(plans) <= limit_ratio]
    if len(within):
        best: Array = within[_totals(costs, within).argmin()]
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


def _greedy(profile: Profile, tables: list[list[Array]], limit_ratio: float) -> list[Array]:
    """From the dense plan, one descent by each of the costs; all side by side, which is faster."""
    latency = float(profile.latency_ratios(profile.dense[None])[0])
    plans, latencies = [profile.dense.copy() for _ in tables], [latency] * len(tables)
    going = [number for number in range(len(tables)) if latency > limit_ratio]
    while going:
        choices = [_narrower(plans[number]) for number in going]
        predicted = profile.latency_ratios(np.concatenate(choices))
        ends = np.cumsum([len(rows) for rows in choices])
        parts = np.split(predicted, ends[:-1])
        for number, rows, ratios in zip(list(going), choices, parts, strict=True):
            best = _best_step(tables[number], plans[number], latencies[number], rows, ratios,
                              limit_ratio)  # fmt: skip
            if best is not None:
                plans[number], latencies[number] = rows[best], float(ratios[best])
            if best is None or latencies[number] <= limit_ratio:
                going.remove(number)
    return plans


def _best_step(
    costs: list[Array], plan: Array, latency: float, rows: Array, ratios: Array, limit_ratio: float
) -> int | None:
    """The one of `rows` that saves most latency per cost; None where nothing makes it faster."""
    if not len(rows):
        return None
    saved = latency - np.maximum(ratios, limit_ratio)
    paid = _totals(costs, rows) - _total(costs, plan)
    gain = np.where(saved > LEAST_SAVING, saved / np.maximum(paid, 1e-12), -np.inf)
    best = int(gain.argmax())
    return None if gain[best] == -np.inf else best


def _best_exchange(
    profile: Profile, costs: list[Array], plan: Array, limit_ratio: float
) -> Array | None:
    """The cheapest neighbour within the limit, if it is cheaper than the plan."""
    rows = _neighbours(plan, profile.dense)
    totals = _totals(costs, rows)
    promising = totals < _total(costs, plan) - 1e-12
    rows, totals = rows[promising], totals[promising]
    if not len(rows):
        return None
    fits = profile.latency_ratios(rows) <= limit_ratio
    if not fits.any():
        return None
    best: Array = rows[fits][totals[fits].argmin()]
    return best


def _narrower(plan: Array) -> Array:
    """One parameter at every narrower width, not the next alone: latency is a staircase."""
    changed = np.repeat(np.arange(len(plan)), plan)
    rows = np.repeat(plan[None], len(changed), axis=0)
    rows[np.arange(len(changed)), changed] = [place for now in plan for place in range(now)]
    return rows


def _neighbours(plan: Array, dense: Array) -> Array:
    """One parameter a step or two wider, alone or with another one a step or two narrower."""
    up, wider, down, narrower = _exchanges(len(plan))
    there = (plan[up] + wider <= dense[up]) & (plan[down] >= narrower)
    rows = np.repeat(plan[None], int(there.sum()), axis=0)
    places = np.arange(len(rows))
    rows[places, up[there]] += wider[there]
    rows[places, down[there]] -= narrower[there]
    return rows


@lru_cache
def _exchanges(parameters: int) -> tuple[Array, Array, Array, Array]:
    """(which one, how many steps wider, which other one, how many narrower); 0 for it alone."""
    rows = []
    for up in range(parameters):
        others = [(down, by) for down in range(parameters) if down != up for by in (1, 2)]
        rows += [(up, wider, down, by) for wider in (1, 2) for down, by in [(up, 0), *others]]
    columns: Array = np.array(rows).T
    return columns[0], columns[1], columns[2], columns[3]


def _with(plan: Array, parameter: int, position: int) -> Array:
    changed = plan.copy()
    changed[parameter] = position
    return changed


def _totals(costs: list[Array], rows: Array) -> Array:
    """`_total` of each row, to the last bit: added in the same order."""
    totals = np.zeros(len(rows))
    for table, positions in zip(costs, rows.T, strict=True):
        totals += table[positions]
    return totals


def _total(costs: list[Array], plan: Array) -> float:
    return float(sum(table[position] for table, position in zip(costs, plan, strict=True)))
