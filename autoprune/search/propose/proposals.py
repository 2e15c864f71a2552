"""The plans a new study tries first: cheapest by the profile, at several latencies."""

from __future__ import annotations

import numpy as np

from autoprune.domain.goal import Limit
from autoprune.search.learn.profile import Profile
from autoprune.search.propose.solver import cheapest_plan

WITHIN_BUDGET = (1.0, 0.985, 0.97, 0.95, 0.9, 0.8)
"""Latency limits as shares of the budget: predictions miss by a percent or two."""

ACROSS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
"""Latency limits as shares of the dense latency, for an accuracy goal."""


def proposals(profile: Profile, limit: Limit) -> list[dict[str, int]]:
    """Solve for the cheapest plan at each limit.

    Returns:
        Kept widths by parameter name; repeated plans are left out.
    """
    shares: tuple[float, ...] = ACROSS
    if limit.latency_ms is not None:
        shares = tuple(each * limit.latency_ms / limit.dense_ms for each in WITHIN_BUDGET)
    found: list[dict[str, int]] = []
    for share in shares:
        kept = profile.kept(cheapest_plan(profile, np.ones(len(profile.names)), share))
        if kept not in found:
            found.append(kept)
    return found
