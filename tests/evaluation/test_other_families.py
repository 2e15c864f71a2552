"""YOLO10, 11 and 26 go the whole way: calibrated, pruned, trained, saved, opened by Ultralytics."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from ultralytics import YOLO

from autoprune.demo.shapes import CLASS_NAMES
from autoprune.evaluation.dataset import DataSummary
from autoprune.evaluation.fine_tune import FineTuneSettings, fine_tune
from autoprune.evaluation.inside.pruned_yolo import as_pruned_yolo, load_pruned
from autoprune.evaluation.inside.stock import stock_model
from autoprune.evaluation.inside.trainer import conv_shapes
from autoprune.evaluation.regrowth_guard import seal
from autoprune.evaluation.renormalize import renormalize_batchnorm
from autoprune.evaluation.validate import validate
from autoprune.latency.export import export_model, folded
from autoprune.pruning.prune import Pruner, uniform_plan
from autoprune.search.learn.calibration import calibrate

SIZE = 64


def _model(name: str) -> Any:
    torch.manual_seed(0)
    model: Any = stock_model(f"{name}.yaml", 3, len(CLASS_NAMES))
    model.names = dict(enumerate(CLASS_NAMES))
    return model


@pytest.mark.parametrize("name", ["yolov10n", "yolo11n", "yolo26n"])
@pytest.mark.filterwarnings("ignore")  # Ultralytics' own export uses torch's old exporter
def test_it_goes_the_whole_way(name: str, data: DataSummary, tmp_path: Path) -> None:
    model = _model(name)
    statistics = calibrate(model, data, SIZE, 8, cache=tmp_path / "cache")
    pruner = Pruner(model, "obs", statistics, compensated=True)
    plan = uniform_plan(pruner.widths, 0.3)
    pruned: Any = pruner.prune(plan)
    shapes = conv_shapes(pruned)
    renormalize_batchnorm(pruned, data.train, SIZE)
    yaml, settings = data.training_yaml(tmp_path / "run"), FineTuneSettings(epochs=1, distill=0.5)
    tuned = fine_tune(pruned, yaml, SIZE, settings, tmp_path / "run", teacher=model).module
    assert conv_shapes(tuned) == shapes
    assert validate(tuned, data, data.val, SIZE).images == len(data.val)
    seal(tuned, {"base": "0" * 16})
    dense = YOLO(f"{name}.yaml", task="detect")
    file = tmp_path / "small.pt"
    as_pruned_yolo(tuned, dense).save(file)
    assert conv_shapes(load_pruned(file).model) == shapes
    plain = YOLO(file)
    (found,) = plain.predict(torch.zeros(1, 3, SIZE, SIZE), verbose=False)
    assert len(found.names) == len(CLASS_NAMES)
    assert Path(plain.export(format="torchscript", imgsz=SIZE, verbose=False)).exists()


@pytest.mark.parametrize("name", ["yolov10n", "yolo11n", "yolo26n"])
def test_what_is_exported_is_the_branch_that_is_validated(name: str, tmp_path: Path) -> None:
    model = _model(name)
    ready: Any = folded(model)
    picture = torch.rand(1, 3, SIZE, SIZE)
    with torch.no_grad():
        decoded, raw = copy.deepcopy(model)(picture)
        assert ("one2one" in raw) == (name != "yolo11n")
        torch.testing.assert_close(ready(picture), decoded, rtol=1e-3, atol=1e-3)
    assert not any("one2one" in part for part, _ in ready.named_parameters())
    exported = export_model(model, tmp_path / "model.onnx", (SIZE, SIZE), "onnxruntime")
    assert exported.path.stat().st_size < 1.1 * 4 * sum(p.numel() for p in ready.parameters())
