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
_BORDER = 2  # no exchange takes more steps than that
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
    bordered = _bordered(costs)
    found = [_exchanged(profile, bordered, plan, limit_ratio) for plan in descents.values()]
    plans = np.array(found)
    within = plans[profile.latency_ratios(plans) <= limit_ratio]
    if len(within):
        best: Array = within[_totals(costs, within).argmin()]
        return best
    # No single step made those any faster; another corner may be within the limit all the same.
    narrowest = _fastest(profile, np.zeros_like(profile.dense))
    plans = np.array([*plans, _exchanged(profile, bordered, narrowest, limit_ratio)])
    fastest: Array = plans[profile.latency_ratios(plans).argmin()]
    return fastest


def _exchanged(profile: Profile, bordered: Array, plan: Array, limit_ratio: float) -> Array:
    """The plan after all exchanges that lower its cost within the limit."""
    for _ in range(EXCHANGE_ROUNDS):
        better = _best_exchange(profile, bordered, plan, limit_ratio)
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
    """From the dense plan, one descent by each of the costs; all side by side, which is faster.

    A step sets one parameter to any other width, not the next alone: latency is a staircase.
    """
    parameters, positions = profile.steps
    costs = np.array([np.concatenate(each) for each in tables])
    ends = np.cumsum([0, *map(len, profile.choices)])[:-1]  # where a parameter's costs begin
    plans = np.repeat(profile.dense[None], len(tables), axis=0)
    going = np.arange(len(tables))
    while True:
        latencies = profile.latency_ratios(plans[going])
        slow = latencies > limit_ratio
        going, latencies = going[slow], latencies[slow]
        if not len(going):
            return list(plans)
        now, paying = plans[going], costs[going]
        ratios = profile.changed_ratios(now)
        saved = latencies[:, None] - np.maximum(ratios, limit_ratio)
        each = np.arange(len(going))
        paid = paying - paying[each[:, None], now + ends][:, parameters]
        usable = saved > LEAST_SAVING
        gain = np.where(usable, saved / np.maximum(paid, 1e-12), -np.inf)
        best = gain.argmax(axis=1)
        better = usable[each, best]
        going, best = going[better], best[better]
        plans[going, parameters[best]] = positions[best]


def _best_exchange(
    profile: Profile, bordered: Array, plan: Array, limit_ratio: float
) -> Array | None:
    """The cheapest neighbour within the limit, if it is cheaper than the plan.

    Neighbours have one parameter a step or two wider, alone or with another one a step or two
    narrower.
    """
    up, wider, down, narrower = _exchanges(len(plan))
    now = bordered[np.arange(len(plan)), plan + _BORDER]
    paid = bordered[up, plan[up] + wider + _BORDER] - now[up]
    paid += bordered[down, plan[down] - narrower + _BORDER] - now[down]
    cheaper = np.flatnonzero(paid < -1e-12)
    if not len(cheaper):
        return None
    rows, places = np.repeat(plan[None], len(cheaper), axis=0), np.arange(len(cheaper))
    rows[places, up[cheaper]] += wider[cheaper]
    rows[places, down[cheaper]] -= narrower[cheaper]
    fits = profile.latency_ratios(rows) <= limit_ratio
    if not fits.any():
        return None
    best: Array = rows[fits][paid[cheaper][fits].argmin()]
    return best


def _bordered(costs: list[Array]) -> Array:
    """Costs as one table with infinity around them, (parameters, _BORDER + choices + _BORDER)."""
    longest = max(map(len, costs))
    table = np.full((len(costs), longest + 2 * _BORDER), np.inf)
    for row, own in zip(table, costs, strict=True):
        row[_BORDER : _BORDER + len(own)] = own
    return table


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
    """The cost of each row, (plans, parameters) -> (plans,)."""
    totals = np.zeros(len(rows))
    for table, positions in zip(costs, rows.T, strict=True):
        totals += table[positions]
    return totals
