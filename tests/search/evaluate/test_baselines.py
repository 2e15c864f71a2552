"""Which uniform plans become baselines."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autoprune.domain.goal import Goal
from autoprune.domain.plan import PruningPlan
from autoprune.domain.record import LatencyResult, TrialRecord
from autoprune.errors import ConfigError
from autoprune.latency.measure import TimingSettings
from autoprune.search.context.listener import SearchListener
from autoprune.search.evaluate import baselines
from autoprune.search.evaluate.baselines import UniformPlan
from autoprune.search.evaluate.candidate import Candidate
from tests.search.fakes import (
    ending_in,
    fake_bench,
    latency,
    record,
    too_late,
    unlimited,
    with_goal,
)


def test_without_a_latency_goal_two_fixed_ratios_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = [
        UniformPlan(ratio, 8, PruningPlan({0: ratio}), macs=int(1000 * (1 - ratio)))
        for ratio in (0.1, 0.25, 0.4, 0.5, 0.7)
    ]
    monkeypatch.setattr(baselines, "uniform_plans", lambda bench: plans)
    bench = with_goal(fake_bench(tmp_path), Goal(kind="max_drop", value=1))
    chosen = baselines._chosen(bench, unlimited(), SearchListener())
    assert [uniform.name for uniform in chosen] == ["uniform-0.25-r8", "uniform-0.50-r8"]


def _plans(count: int) -> list[UniformPlan]:
    plan = PruningPlan({0: 0.1})
    return [UniformPlan(step / 10, 8, plan, macs=100 - step) for step in range(1, count + 1)]


@pytest.mark.parametrize("expected", range(8))
def test_the_mildest_that_fits_is_found_wherever_the_prediction_points(expected: int) -> None:
    plans = _plans(8)
    for wanted in range(8):
        fits = {plan.ratio for plan in plans[wanted:]}
        found = baselines._mildest(plans, lambda plan, fits=fits: plan.ratio in fits, expected)
        assert found == wanted
    assert baselines._mildest(plans, lambda plan: False, expected) == 7


def test_a_good_prediction_is_checked_by_few_measurements() -> None:
    plans, measured = _plans(12), []

    def fits(plan: UniformPlan) -> bool:
        measured.append(plan.ratio)
        return plan.ratio >= plans[5].ratio

    assert baselines._mildest(plans, fits, 5) == 5
    assert len(measured) <= 1 + baselines.MILDER_PROBES


def test_a_milder_plan_behind_one_that_is_too_slow_is_found() -> None:
    plans = _plans(8)
    fits = {plans[3].ratio, *(plan.ratio for plan in plans[5:])}
    assert baselines._mildest(plans, lambda plan: plan.ratio in fits, 5) == 3


def test_only_baselines_that_no_earlier_study_has_are_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, trained = record("uniform-0.10-r8", 5.0, 0.6, kind="baseline"), []

    def take(bench: Any, candidate: Candidate) -> TrialRecord | None:
        return known if candidate.name == known.name else None

    def train(bench: Any, candidate: Candidate, *_: Any, **how: Any) -> TrialRecord:
        trained.append(candidate.name)
        return record(candidate.name, 4.0, 0.5, kind="baseline")

    monkeypatch.setattr(baselines, "_chosen", lambda *_: _plans(2))
    monkeypatch.setattr(baselines, "take_baseline", take)
    monkeypatch.setattr(baselines, "evaluate_trained", train)
    found = baselines.evaluate_baselines(fake_bench(tmp_path), unlimited(), SearchListener())
    assert [each.name for each in found] == ["uniform-0.10-r8", "uniform-0.20-r8"]
    assert trained == ["uniform-0.20-r8"]


@pytest.mark.parametrize(("seconds", "trained"), [(10.0, 2), (0.5, 1), (-1.0, 1)])
def test_where_time_is_short_there_is_one_baseline_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, trained: int
) -> None:
    """Each takes a second; the first is owed."""

    def train(bench: Any, candidate: Candidate, *_: Any, **how: Any) -> TrialRecord:
        assert how == {"however_slow": True}
        return record(candidate.name, 4.0, 0.5, kind="baseline")

    monkeypatch.setattr(baselines, "_chosen", lambda *_: _plans(2))
    monkeypatch.setattr(baselines, "take_baseline", lambda *_: None)
    monkeypatch.setattr(baselines, "evaluate_trained", train)
    allowance = ending_in(seconds)
    found = baselines.evaluate_baselines(fake_bench(tmp_path), allowance, SearchListener())
    assert len(found) == trained


def test_once_the_time_is_over_no_uniform_plan_is_even_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked(*_: Any) -> list[UniformPlan]:
        raise AssertionError("measured after the limit")

    monkeypatch.setattr(baselines, "_chosen", looked)
    assert baselines.evaluate_baselines(fake_bench(tmp_path), too_late(), SearchListener()) == []


def test_a_baseline_that_is_only_copied_needs_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = [record(plan.name, 4.0, 0.5, kind="baseline", seconds=99.0) for plan in _plans(2)]
    taken = iter(known)
    monkeypatch.setattr(baselines, "_chosen", lambda *_: _plans(2))
    monkeypatch.setattr(baselines, "take_baseline", lambda *_: next(taken))
    found = baselines.evaluate_baselines(fake_bench(tmp_path), ending_in(5), SearchListener())
    assert found == known


@pytest.mark.parametrize("content", ["x: 1", "baselines: 3"])
def test_a_damaged_note_of_the_scan_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    bench = fake_bench(tmp_path)
    note = baselines.scan_file(bench)
    note.parent.mkdir()
    note.write_text(content)
    monkeypatch.setattr(baselines, "uniform_plans", lambda bench: _plans(2))
    with pytest.raises(ConfigError, match="baselines"):
        baselines._chosen(bench, unlimited(), SearchListener())


@pytest.mark.parametrize(("seconds", "looked", "chosen"), [(1e6, 3, 3), (0.0, 0, 2)])
def test_where_time_is_short_the_prediction_chooses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, looked: int, chosen: int
) -> None:
    """Plan 2 of 0 .. 5 is the first that is predicted to fit 5 ms; by measurement plan 3 is."""
    plans = [
        UniformPlan(step / 10, 8, PruningPlan({0: step / 10}), macs=100 - step)
        for step in range(1, 7)
    ]
    measured: list[float] = []

    def measure(plan: PruningPlan, _: Path) -> LatencyResult:
        ratio = plan.prune_ratios[0]
        assert isinstance(ratio, float)
        measured.append(ratio)
        return latency(5.35 - ratio)

    bench = fake_bench(tmp_path)
    bench.predicted_ms = lambda plan: 5.25 - plan.prune_ratios[0]
    bench.pruner.prune, bench.timing = (lambda plan: plan), TimingSettings()
    monkeypatch.setattr(baselines, "uniform_plans", lambda bench: plans)
    monkeypatch.setattr(
        baselines, "replace", lambda *_, **changed: SimpleNamespace(measure=measure)
    )
    found = baselines._chosen(bench, ending_in(seconds), SearchListener())
    assert len(measured) == looked
    assert found[0] == plans[chosen]
