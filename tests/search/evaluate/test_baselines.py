"""Which uniform plans become baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autoprune.domain.goal import Goal
from autoprune.domain.plan import PruningPlan
from autoprune.domain.record import TrialRecord
from autoprune.search.evaluate import baselines
from autoprune.search.evaluate.baselines import UniformPlan, next_baseline
from tests.search.fakes import fake_bench, record, with_goal


def _plans(count: int) -> list[UniformPlan]:
    """Ratios 0.1, 0.2 ...; each runs in 6 ms less ten times that, as predicted."""
    return [
        UniformPlan(step / 10, 8, PruningPlan({0: step / 10}), macs=100 - step)
        for step in range(1, count + 1)
    ]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    made = fake_bench(tmp_path)
    made.predicted_ms = lambda plan: 6.05 - 5 * plan.prune_ratios[0]
    monkeypatch.setattr(baselines, "uniform_plans", lambda bench: _plans(7))
    return made


def uniform(ratio: float, ms: float | None, state: Any = "complete") -> TrialRecord:
    return record(
        f"uniform-{ratio:.2f}-r8",
        ms,
        0.5 if state == "complete" else None,
        kind="baseline",
        state=state,
        predicted=6.05 - 5 * ratio,
    )


def _name(bench: Any, *done: TrialRecord) -> tuple[str, bool] | None:
    found = next_baseline(bench, done)
    return None if found is None else (found.candidate.name, found.however_slow)


def test_the_mildest_predicted_to_be_within_the_budget_comes_first(bench: Any) -> None:
    assert _name(bench) == ("uniform-0.30-r8", False)


def test_one_that_is_measured_too_slow_is_followed_by_a_stronger_one_by_its_own_miss(
    bench: Any,
) -> None:
    """4.55 ms predicted, 5.01 measured: what is predicted at 4.54 and less may fit."""
    slow = uniform(0.3, 5.01, "over_budget")
    assert _name(bench, slow) == ("uniform-0.40-r8", False)
    slower = uniform(0.3, 6.2, "over_budget")  # a third slower: 3.7 and less may
    assert _name(bench, slower) == ("uniform-0.50-r8", False)


def test_one_that_failed_is_followed_by_a_stronger_one(bench: Any) -> None:
    assert _name(bench, uniform(0.3, None, "failed")) == ("uniform-0.40-r8", False)


def test_where_none_is_predicted_to_fit_the_strongest_is_tried_once(bench: Any) -> None:
    bench.predicted_ms = lambda plan: 9.0
    assert _name(bench) == ("uniform-0.70-r8", False)
    assert _name(bench, uniform(0.7, 9.0, "over_budget")) is None


def test_the_second_one_is_the_next_milder_however_slow(bench: Any) -> None:
    within = uniform(0.3, 4.6)
    assert _name(bench, within) == ("uniform-0.20-r8", True)
    assert _name(bench, within, uniform(0.2, 5.2)) is None
    missed = uniform(0.2, 5.2, "over_budget")  # seen already: it is not trained for its own sake
    assert _name(bench, missed, within) is None


def test_the_mildest_of_all_has_a_stronger_one_beside_it(bench: Any) -> None:
    assert _name(bench, uniform(0.1, 4.9)) == ("uniform-0.20-r8", True)


def test_without_a_latency_goal_two_fixed_ratios_are_taken(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = [
        UniformPlan(ratio, 8, PruningPlan({0: ratio}), macs=int(1000 * (1 - ratio)))
        for ratio in (0.1, 0.25, 0.4, 0.5, 0.7)
    ]
    monkeypatch.setattr(baselines, "uniform_plans", lambda bench: plans)
    bench = with_goal(bench, Goal(kind="max_drop", value=1))
    assert _name(bench) == ("uniform-0.25-r8", True)
    assert _name(bench, uniform(0.25, 8.0)) == ("uniform-0.50-r8", True)
    assert _name(bench, uniform(0.25, 8.0), uniform(0.5, 6.0)) is None
