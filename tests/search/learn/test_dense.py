"""A dense model that detects nothing ends the search before anything is learned."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autoprune.domain.goal import Goal
from autoprune.domain.record import DetectionMetrics, RungScore
from autoprune.errors import ConfigError
from autoprune.search.context.listener import SearchListener
from autoprune.search.learn.dense import LEAST_MAP, measured
from autoprune.storage.study_folder import StudyFolder
from tests.search.fakes import DENSE


def _bench(root: Path, map50_95: float, known: list[str]) -> Any:
    """A study that is continued: its dense model is measured already."""
    folder = StudyFolder(root)
    metrics = DetectionMetrics(map50=map50_95, map50_95=map50_95, split="val", images=8)
    score = RungScore(rung=0, epochs=0, images_seen=0, seconds=1.0, metrics=metrics)
    folder.save_record(DENSE.model_copy(update={"rungs": (score,)}))
    return SimpleNamespace(
        folder=folder,
        yolo=SimpleNamespace(model=SimpleNamespace(names=dict(enumerate(known)))),
        data=SimpleNamespace(names=("cat", "dog"), path=Path("data.yaml")),
        config=SimpleNamespace(model=Path("mine.pt"), goal=Goal(kind="speedup", value=2)),
        export=lambda *_: None,
        grown=lambda *_, **found: found,
    )


def test_it_is_refused_with_the_likely_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules[measured.__module__]  # autoprune.search is a function as well
    monkeypatch.setattr(module, "earlier_studies", lambda *_: ())
    low = LEAST_MAP / 2
    with pytest.raises(ConfigError, match=r"mine\.pt: got mAP50-95 0\.010 on val.*is it trained"):
        measured(_bench(tmp_path / "a", low, ["cat", "dog"]), SearchListener())
    with pytest.raises(ConfigError, match=r"are its classes \['x', 'y'\].*in this order"):
        measured(_bench(tmp_path / "b", low, ["x", "y"]), SearchListener())
    found: Any = measured(_bench(tmp_path / "c", LEAST_MAP, ["cat", "dog"]), SearchListener())
    assert found["dense"].map50_95 == LEAST_MAP
