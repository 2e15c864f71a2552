"""The latency predictor of a study: learned once, within its time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autoprune.latency.predictor import LatencyPredictor
from autoprune.search.context.listener import SearchListener
from autoprune.search.learn import predicting
from autoprune.search.learn.predicting import (
    DEMO_LIMIT_S,
    LEAST_LEARNING_S,
    informed,
    most_s,
)
from tests.search.fakes import ending_in, fake_bench, unlimited


class Learned:
    def save(self, path: Path) -> None:
        path.write_text("learned")


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that each learning was given."""
    given: list[float] = []

    def learn(bench: Any, folder: Path, listener: Any, limit_s: float) -> Learned:
        given.append(limit_s)
        return Learned()

    monkeypatch.setattr(predicting, "learn_latency", learn)
    monkeypatch.setattr(predicting, "take_tables", lambda bench: None)
    monkeypatch.setattr(predicting, "shared_folder", lambda bench: Path())
    monkeypatch.setattr(predicting, "with_target_space", lambda bench, _: bench)
    monkeypatch.setattr(predicting, "model_geometry", lambda *_: None)
    monkeypatch.setattr(LatencyPredictor, "load", lambda path, _: path.read_text())
    return given


def _bench(root: Path, demo: bool = False) -> Any:
    bench = fake_bench(root)
    bench.demo, bench.imgsz = demo, (64, 64)
    bench.pruner.model, bench.pruner.groups = None, []
    return bench


def test_a_slow_model_is_worth_more_time_and_the_demo_is_quick() -> None:
    assert most_s(1.0, demo=False) == LEAST_LEARNING_S
    assert most_s(10.0, demo=False) == 50
    assert most_s(1e6, demo=False) == 300
    assert most_s(1.0, demo=True) == most_s(1e6, demo=True) == DEMO_LIMIT_S


def test_learning_keeps_to_what_it_is_worth_and_to_its_share(
    tmp_path: Path, limits: list[float]
) -> None:
    """The dense model takes 10 ms: worth 50 s."""
    informed(_bench(tmp_path / "a"), unlimited(), SearchListener())
    informed(_bench(tmp_path / "b"), ending_in(30), SearchListener())
    informed(_bench(tmp_path / "c", demo=True), unlimited(), SearchListener())
    assert limits == [50, pytest.approx(30, abs=1), DEMO_LIMIT_S]


def test_a_continued_study_keeps_the_predictor_it_began_with(
    tmp_path: Path, limits: list[float]
) -> None:
    for _ in range(2):
        found = informed(_bench(tmp_path), unlimited(), SearchListener())
    assert found.predictor == "learned"
    assert len(limits) == 1
