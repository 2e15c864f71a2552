"""The plans a new study tries first: cheapest by the profile, at several latencies."""

from __future__ import annotations

import numpy as np

from autoprune.domain.config import Goal
from autoprune.search.learn.profile import Profile
from autoprune.search.propose.solver import cheapest_plan

WITHIN_BUDGET = (1.0, 0.985, 0.97, 0.95, 0.9, 0.8)
"""Latency limits as shares of the budget: predictions miss by a percent or two."""

ACROSS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
"""Latency limits as shares of the dense latency, for an accuracy goal."""


def proposals(profile: Profile, goal: Goal, dense_ms: float) -> list[dict[str, int]]:
    """Solve for the cheapest plan at each limit.

    Returns:
        Kept widths by parameter name; repeated plans are left out.
    """
    budget_ms = goal.budget_ms(dense_ms)
    limits: tuple[float, ...] = ACROSS
    if budget_ms is not None:
        limits = tuple(share * budget_ms / dense_ms for share in WITHIN_BUDGET)
    found: list[dict[str, int]] = []
    for limit in limits:
        kept = profile.kept(cheapest_plan(profile, np.ones(len(profile.names)), limit))
        if kept not in found:
            found.append(kept)
    return found
