"""A dense model that meets the budget already: published if a fresh process says so too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autoprune.domain.goal import Goal
from autoprune.search.context.listener import SearchListener
from autoprune.search.select.already_met import already_met
from tests.search.fakes import DENSE, fake_bench, latency, with_goal


def _bench(root: Path, ms: float) -> Any:
    bench = with_goal(fake_bench(root, trials=None), Goal(kind="budget_ms", value=10.5))
    bench.yolo = type("Yolo", (), {"model": None})

    def save(module: Any, path: Path, plan: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"dense")

    bench.save_model, bench.measure = save, lambda *_: latency(ms)
    bench.keep_export = lambda _, folder: (folder / "model.onnx").write_bytes(b"exported")
    bench.folder.save_record(DENSE)
    DENSE.pruning_plan().save(bench.folder.dense / "plan.yaml")
    return bench


def test_a_confirmed_dense_model_is_the_answer(tmp_path: Path) -> None:
    bench = _bench(tmp_path, 10.1)
    outcome = already_met(bench, SearchListener())
    assert outcome is not None
    assert (outcome.best, outcome.goal_met) == ("dense", True)
    assert bench.folder.best_model.read_bytes() == b"dense"
    assert bench.folder.best_export(".onnx").read_bytes() == b"exported"
    assert bench.folder.best_plan.exists()
    record = bench.folder.dense_record()
    assert record.confirmed.median_ms == 10.1


@pytest.mark.parametrize("ms", [10.45, 11.0])  # 10.45: its interval reaches beyond
def test_one_that_a_fresh_process_finds_slower_is_not(tmp_path: Path, ms: float) -> None:
    bench = _bench(tmp_path, ms)
    assert already_met(bench, SearchListener()) is None
    assert not bench.folder.best_plan.exists()
    assert bench.folder.dense_record().confirmed is None


@pytest.mark.parametrize(("kind", "value"), [("budget_ms", 10.05), ("max_drop", 1)])
def test_a_limit_that_is_not_surely_met_or_no_limit_asks_for_a_search(
    tmp_path: Path, kind: str, value: float
) -> None:
    """10.05 ms: the dense model's interval reaches 10.1."""
    goal = Goal.model_validate({"kind": kind, "value": value})
    bench = with_goal(_bench(tmp_path, 9.0), goal)
    assert already_met(bench, SearchListener()) is None


def test_who_asks_for_trials_gets_them(tmp_path: Path) -> None:
    bench = _bench(tmp_path, 9.0)
    bench.config = bench.config.model_copy(update={"trials": 5})
    assert already_met(bench, SearchListener()) is None
