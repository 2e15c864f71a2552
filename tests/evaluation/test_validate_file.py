"""The mAP of a file, answered by its runtime, is that of the model it was exported from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from autoprune.demo.bundle import demo_checkpoint
from autoprune.demo.dataset import Split, write_detection_set
from autoprune.errors import TrialFailed
from autoprune.evaluation.branches import choose_branch
from autoprune.evaluation.checkpoint import load_yolo
from autoprune.evaluation.dataset import inspect_data
from autoprune.evaluation.inside.stock import stock_model
from autoprune.evaluation.inside.validator import VALIDATORS
from autoprune.evaluation.model_task import model_task
from autoprune.evaluation.validate import scores, validate
from autoprune.evaluation.validate_file import scores_of_answers, validate_answers
from autoprune.latency.answers import local_answers
from autoprune.latency.export import export_model
from autoprune.latency.options import RuntimeOptions
from tests.evaluation.task_data import KEYPOINTS, NAMES, write_task_set

SIZE = (64, 96)


def through_onnx(model: nn.Module, folder: Path, size: tuple[int, int]) -> Any:
    quick = "dynamo"  # the exporter after it takes less time
    exported = export_model(model, folder / "model.onnx", size, "onnxruntime", after=quick)
    return local_answers(exported, RuntimeOptions(runtime="onnxruntime", imgsz=size))


def test_of_the_demo_it_is_torchs_for_each_class(tmp_path: Path) -> None:
    """At a square, tests/cli/test_export.py holds it against Ultralytics' own."""
    splits = {"train": Split(1, 2), "val": Split(2, 24), "test": Split(3, 2)}
    data, size = inspect_data(write_detection_set(tmp_path / "set", splits)), (128, 192)
    model = load_yolo(demo_checkpoint()).model
    expected = scores(model, data, data.selection_images, size)
    with through_onnx(model, tmp_path, size) as answers:
        found = scores_of_answers(model, answers, data, data.selection_images, size)
    assert expected.metrics.map50_95 > 0.3
    assert found.metrics.map50_95 == pytest.approx(expected.metrics.map50_95, abs=1e-3)
    assert found.metrics.map50 == pytest.approx(expected.metrics.map50, abs=1e-3)
    assert (found.metrics.split, found.metrics.images) == ("val", 24)
    assert set(found.by_class) == set(data.names)
    assert found.by_class == pytest.approx(expected.by_class, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "nms"),
    [("yolov8n-seg", None), ("yolo11n-pose", None), ("yolov8n-obb", None), ("yolo26n", False)],
)
def test_of_each_task_it_is_torchs_and_so_is_each_object(
    name: str, nms: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = opinionated(name)
    choose_branch(model, nms, name)
    task = model_task(model).name
    data = inspect_data(write_task_set(tmp_path / "set", task, 8), task=task)
    kind, seen = VALIDATORS[task][0], []
    plain = kind.update_metrics

    def noting(self: Any, preds: list[dict[str, torch.Tensor]], batch: Any) -> None:
        seen.extend({key: value.clone() for key, value in each.items()} for each in preds)
        plain(self, preds, batch)

    monkeypatch.setattr(kind, "update_metrics", noting)
    expected = validate(model, data, data.val, SIZE)
    with through_onnx(model, tmp_path, SIZE) as answers:
        found = validate_answers(model, answers, data, data.val, SIZE)
    assert found.map50_95 == pytest.approx(expected.map50_95, abs=1e-3)
    assert (found.metric, found.images) == (expected.metric, 4)
    for ours, theirs in zip(seen[4:], seen[:4], strict=True):
        assert ours.keys() == theirs.keys()
        assert len(theirs["conf"]) >= 5, "nothing to compare"
        assert theirs["conf"][:5].std() > 1e-4, "all objects are alike"
        for key in ours:
            torch.testing.assert_close(
                ours[key][:5].float(), theirs[key][:5].float(), atol=1e-2, rtol=1e-3
            )


def test_an_answer_that_is_not_finite_fails(tmp_path: Path) -> None:
    data = inspect_data(
        write_detection_set(tmp_path / "set", {"train": Split(1, 2), "val": Split(2, 3)})
    )
    model = load_yolo(demo_checkpoint()).model

    def broken(image: np.ndarray) -> list[np.ndarray]:
        return [np.full((1, 4 + len(data.names), 84), np.nan, dtype=np.float32)]

    with pytest.raises(TrialFailed, match="nan"):
        validate_answers(model, broken, data, data.val, 64)


def opinionated(name: str) -> Any:
    """A stock model whose random weights find some objects clearly better than others."""
    torch.manual_seed(0)
    keypoints = KEYPOINTS if name.endswith("pose") else None
    model: Any = stock_model(f"{name}.yaml", 3, len(NAMES), keypoints)
    model.names = dict(enumerate(NAMES))
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(nn.functional.interpolate(torch.rand(8, 3, 6, 9), SIZE))
    head = model.eval().model[-1]
    for branch in ("cv3", "one2one_cv3"):
        for tower in getattr(head, branch, None) or ():
            tower[-1].weight.data *= 0.3
            tower[-1].bias.data.fill_(-1.0)
    return model
