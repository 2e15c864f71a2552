"""A dense model that meets the budget already: published if a fresh process says so too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autoprune.search.learn.dense import dense_is_enough
from tests.search.fakes import DENSE, fake_bench, latency


def _bench(root: Path, ms: float) -> Any:
    bench = fake_bench(root)
    bench.yolo = type("Yolo", (), {"model": None})

    def save(module: Any, path: Path, plan: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"dense")

    bench.save_model, bench.measure = save, lambda *_: latency(ms)
    bench.folder.save_record(DENSE)
    DENSE.pruning_plan().save(bench.folder.dense / "plan.yaml")
    return bench


def test_a_confirmed_dense_model_is_the_answer(tmp_path: Path) -> None:
    bench = _bench(tmp_path, 10.1)
    outcome = dense_is_enough(bench, DENSE, 10.5)
    assert outcome is not None
    assert (outcome.best, outcome.goal_met) == ("dense", True)
    assert bench.folder.best_model.read_bytes() == b"dense"
    assert bench.folder.best_plan.exists()
    record = bench.folder.dense_record()
    assert record.confirmed.median_ms == 10.1


@pytest.mark.parametrize("ms", [10.45, 11.0])  # 10.45: its interval reaches beyond
def test_one_that_a_fresh_process_finds_slower_is_not(tmp_path: Path, ms: float) -> None:
    bench = _bench(tmp_path, ms)
    assert dense_is_enough(bench, DENSE, 10.5) is None
    assert not bench.folder.best_plan.exists()
    assert bench.folder.dense_record().confirmed is None
