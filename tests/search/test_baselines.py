"""Which uniform plans become baselines."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoprune.plan import PruningPlan
from autoprune.search import baselines
from autoprune.search.baselines import UniformPlan
from autoprune.search.listener import SearchListener
from tests.search.fakes import fake_bench


def test_without_a_latency_goal_two_fixed_ratios_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = [
        UniformPlan(ratio, 8, PruningPlan({0: ratio}), macs=int(1000 * (1 - ratio)))
        for ratio in (0.1, 0.25, 0.4, 0.5, 0.7)
    ]
    monkeypatch.setattr(baselines, "uniform_plans", lambda bench: plans)
    chosen = baselines._chosen(fake_bench(tmp_path), None, SearchListener())
    assert [uniform.name for uniform in chosen] == ["uniform-0.25-r8", "uniform-0.50-r8"]


def test_bisection_finds_the_mildest_plan_that_fits() -> None:
    plans = [UniformPlan(step / 10, 8, PruningPlan({0: 0.1}), macs=step) for step in range(1, 9)]
    for wanted in plans:
        found = baselines._first(plans, lambda plan, wanted=wanted: plan.macs >= wanted.macs)
        assert found == wanted
    assert baselines._first(plans, lambda plan: False) == plans[-1]
