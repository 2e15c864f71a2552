"""The first plans of a study."""

from __future__ import annotations

from typing import Any

import numpy as np

from autoprune.domain.goal import Goal, Limit
from autoprune.search.propose.proposals import ACROSS, WITHIN_BUDGET, proposals
from autoprune.search.propose.solver import cheapest_plan
from tests.search.profiles import random_profile

PROFILE = random_profile(4)


def _limit(kind: Any, value: float) -> Limit:
    return Limit(Goal(kind=kind, value=value), dense_ms=10.0, dense_map=0.8)


def _ratios(found: list[dict[str, int]]) -> list[float]:
    rows = np.array([PROFILE.positions(kept) for kept in found])
    return PROFILE.latency_ratios(rows).tolist()


def test_all_fit_the_budget_and_the_first_is_the_cheapest_of_all_that_do() -> None:
    found = proposals(PROFILE, _limit("budget_ms", 6.0))
    assert all(ratio <= 0.6 for ratio in _ratios(found))
    assert found[0] == PROFILE.kept(cheapest_plan(PROFILE, np.ones(5), 0.6))
    assert 1 < len(found) <= len(WITHIN_BUDGET)
    assert len({tuple(kept.items()) for kept in found}) == len(found)


def test_a_speedup_is_a_share_of_the_dense_latency() -> None:
    as_speedup = proposals(PROFILE, _limit("speedup", 2.0))
    assert as_speedup == proposals(PROFILE, _limit("budget_ms", 5.0))


def test_an_accuracy_goal_gets_plans_of_all_latencies() -> None:
    found = proposals(PROFILE, _limit("max_drop", 2.0))
    assert len(found) == len(ACROSS)
    ratios = _ratios(found)
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[0] > 0.8
    assert ratios[-1] <= 0.4


def test_a_budget_nothing_meets_proposes_the_fastest_plan_once() -> None:
    found = proposals(PROFILE, _limit("budget_ms", 0.1))
    assert len(found) == 1


def test_a_budget_the_dense_model_meets_proposes_it_and_milder_ones_only_below() -> None:
    found = proposals(PROFILE, _limit("budget_ms", 10.0))
    assert found[0] == PROFILE.kept(PROFILE.dense)
