"""The solver against brute force: within the limit wherever possible, and nearly optimal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoprune.search.propose.solver import cheapest_plan
from tests.search.profiles import every_plan, random_profile, total_costs


@pytest.mark.parametrize("step", [16, 8])
def test_it_is_within_the_limit_and_close_to_the_cheapest_of_all_plans(step: int) -> None:
    above = []
    for seed in range(20):
        profile = random_profile(seed, step=step)
        plans = every_plan(profile)
        ratios, costs = profile.latency_ratios(plans), total_costs(profile, plans)
        for limit in np.random.default_rng(seed).uniform(ratios.min(), 1.0, 2):
            plan = cheapest_plan(profile, np.ones(5), limit)
            assert profile.latency_ratios(plan[None])[0] <= limit
            least = costs[ratios <= limit].min()
            above.append((total_costs(profile, plan[None])[0] - least) / costs.max())
    assert np.mean(above) < 0.005
    assert np.quantile(above, 0.9) < 0.02
    assert np.mean(np.array(above) < 1e-9) > 0.9


def test_narrower_but_misaligned_widths_are_slower_and_do_not_lead_it_astray() -> None:
    for seed in range(10):
        profile = random_profile(seed, step=5)
        ratios = profile.latency_ratios(every_plan(profile))
        limit = float(np.quantile(ratios, 0.02))
        plan = cheapest_plan(profile, np.ones(5), limit)
        assert profile.latency_ratios(plan[None])[0] <= limit


def test_a_limit_that_cannot_be_met_gives_the_fastest_plan() -> None:
    for step in (16, 5):
        for seed in range(5):
            profile = random_profile(seed, step=step)
            fastest = profile.latency_ratios(every_plan(profile)).min()
            plan = cheapest_plan(profile, np.ones(5), 0.9 * fastest)
            assert profile.latency_ratios(plan[None])[0] == pytest.approx(fastest)


def test_a_limit_that_the_dense_model_meets_removes_nothing() -> None:
    profile = random_profile(0)
    assert np.array_equal(cheapest_plan(profile, np.ones(5), 1.0), profile.dense)


def test_weights_move_the_pruning_to_where_it_is_cheap() -> None:
    profile = random_profile(1)
    for parameter in range(5):
        weights = np.ones(5)
        weights[parameter] = 1000.0
        limit = 0.75
        plain, weighted = (cheapest_plan(profile, given, limit) for given in (np.ones(5), weights))
        assert weighted[parameter] >= plain[parameter]
        assert weighted[parameter] == profile.dense[parameter]


def test_free_channels_are_taken_and_useless_cuts_are_undone() -> None:
    profile = random_profile(2)
    free = replace(
        profile,
        costs=tuple(np.zeros_like(table) for table in profile.costs[:1]) + profile.costs[1:],
    )
    limit = 0.7
    plan = cheapest_plan(free, np.ones(5), limit)
    cost = total_costs(free, plan[None])[0]
    for parameter in range(1, 5):
        if plan[parameter] < free.dense[parameter]:
            wider = plan.copy()
            wider[parameter] += 1
            cheaper = total_costs(free, wider[None])[0] < cost
            assert not cheaper or free.latency_ratios(wider[None])[0] > limit


def test_closed_parameters_are_left_alone() -> None:
    profile = random_profile(3)
    closed = replace(
        profile,
        choices=((32,), *profile.choices[1:]),
        costs=(np.zeros(1), *profile.costs[1:]),
        group_widths=(np.array([[32]]), *profile.group_widths[1:]),
    )
    plan = cheapest_plan(closed, np.ones(5), 0.6)
    assert plan[0] == 0
    assert closed.latency_ratios(plan[None])[0] <= 0.6
    nothing = replace(
        closed,
        choices=tuple((offered[-1],) for offered in closed.choices),
        costs=(np.zeros(1),) * 5,
        group_widths=tuple(table[-1:] for table in closed.group_widths),
    )
    assert cheapest_plan(nothing, np.ones(5), 0.6).tolist() == [0] * 5
