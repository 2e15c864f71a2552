"""A dense model that detects nothing ends the search; what is odd about it is said and kept."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autoprune.domain.goal import Goal
from autoprune.domain.record import DetectionMetrics, ModelSize, RungScore
from autoprune.errors import ConfigError
from autoprune.latency.denormals import Denormals
from autoprune.latency.exported_model import ExportedModel
from autoprune.latency.options import RuntimeOptions
from autoprune.search.context.listener import SearchListener
from autoprune.search.learn.dense import LEAST_MAP, measured
from autoprune.storage.study_folder import StudyFolder
from tests.search.fakes import DENSE, Heard, latency


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
        export=lambda *_, **__: None,
        quantizes=False,
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


@pytest.mark.parametrize("found", [None, Denormals("model.3.conv", 0.123)])
def test_denormal_numbers_are_said_and_noted_once_in_a_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: Denormals | None
) -> None:
    module = sys.modules[measured.__module__]
    metrics = DetectionMetrics(map50=0.7, map50_95=0.5, split="val", images=8)
    monkeypatch.setattr(module, "earlier_studies", lambda *_: ())
    monkeypatch.setattr(module, "measure_dense", lambda *_: latency(10.0))
    monkeypatch.setattr(module, "validate", lambda *_: metrics)
    monkeypatch.setattr(module, "model_size", lambda *_: ModelSize(params=9, macs=9))
    exported = ExportedModel(Path("a.onnx"), "onnxruntime", (64, 64), "dynamo", denormals=found)
    bench = _bench(tmp_path, 0.5, ["cat", "dog"])
    bench.folder = StudyFolder(tmp_path / "new")  # nothing is measured yet
    for name, value in {
        "export": lambda *_, calibrated: exported if calibrated else None,
        "options": RuntimeOptions("onnxruntime", (64, 64)),
        "space": SimpleNamespace(widths={0: (32,)}),
        "annotated": lambda plan: plan,
    }.items():
        setattr(bench, name, value)
    for name in ("target", "timing", "train_size", "device", "imgsz"):
        setattr(bench, name, None)
    bench.data.selection_images = bench.data.final_images = ()
    heard = Heard()
    made: Any = measured(bench, heard)
    assert len(made["dense"].notes) == len(heard.said) == (found is not None)
    if found is not None:
        (note,) = made["dense"].notes
        assert "model.3.conv" in note
        assert heard.said == [f"Note: {note}."]
    again = Heard()
    measured(bench, again)  # which is continued
    assert again.said == []
