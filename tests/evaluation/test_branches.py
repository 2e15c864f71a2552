"""--no-nms: the end-to-end branch is validated, timed and exported; the other one without it."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from ultralytics import YOLO

from autoprune import prune_detection_model
from autoprune.api import measuring
from autoprune.demo.shapes import CLASS_NAMES
from autoprune.errors import ConfigError
from autoprune.evaluation.branches import (
    END_TO_END,
    WITH_NMS,
    choose_branch,
    deployed_branch,
    is_end_to_end,
)
from autoprune.evaluation.checkpoint import load_yolo
from autoprune.evaluation.dataset import DataSummary
from autoprune.evaluation.inside.pruned_yolo import as_pruned_yolo
from autoprune.evaluation.inside.stock import stock_model
from autoprune.evaluation.validate import validate
from autoprune.families.siblings import smaller_siblings
from autoprune.latency import export as latency_export
from autoprune.latency.export import export_model
from autoprune.latency.local_target import LocalTarget
from autoprune.latency.measure import check_answers
from autoprune.latency.options import RuntimeOptions
from autoprune.pruning.prune import Pruner, uniform_plan, widths_of
from autoprune.pruning.size import model_size
from autoprune.pruning.trace_geometry import model_geometry
from autoprune.search.feasibility.alternatives import Cropped

SIZE = (64, 64)


def _model(name: str = "yolo26n", *, nms: bool | None) -> Any:
    torch.manual_seed(0)
    model: Any = stock_model(f"{name}.yaml", 3, len(CLASS_NAMES))
    model.names = dict(enumerate(CLASS_NAMES))
    choose_branch(model, nms, name)
    return model


def test_a_head_with_one_branch_has_no_choice() -> None:
    with pytest.raises(ConfigError, match=r"yolov8n: --no-nms: got .a head Detect with one"):
        _model("yolov8n", nms=False)
    for nms in (None, True):
        assert deployed_branch(_model("yolov8n", nms=nms)) is None
    assert deployed_branch(_model(nms=None)) == deployed_branch(_model(nms=True)) == WITH_NMS
    assert deployed_branch(_model("yolov10n", nms=False)) == END_TO_END


def test_a_fused_head_has_the_branch_that_was_left_alone() -> None:
    model = _model(nms=False)
    model.model[-1].fuse()
    choose_branch(model, False, "fused.pt")
    with pytest.raises(
        ConfigError, match=r"fused.pt: --nms: got .a fused model without that branch"
    ):
        choose_branch(model, True, "fused.pt")


def test_a_measurement_says_where_models_differ_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency_export, "export_model", lambda *_: None)
    files = []
    for name, nms in (("many", True), ("one", False)):
        files.append(tmp_path / f"{name}.pt")
        module = _model(nms=nms)
        torch.save({"model": module, "train_args": {"imgsz": 64}}, files[-1])
    heard: list[str] = []
    options = RuntimeOptions(runtime="onnxruntime", imgsz=SIZE)
    measuring._exported(files, options, 64, tmp_path, heard.append)
    assert [said.split(" is timed with its branch ")[1].rstrip(".") for said in heard] == [
        WITH_NMS,
        END_TO_END,
    ]
    heard.clear()
    measuring._exported(files[:1] * 2, options, 64, tmp_path, heard.append)
    assert heard == []


def test_the_choice_stays_with_copies_pruned_models_files_and_siblings(tmp_path: Path) -> None:
    model = _model(nms=False)
    pruner = Pruner(model)
    pruned = pruner.prune(uniform_plan(pruner.widths, 0.3))
    assert is_end_to_end(copy.deepcopy(pruned))
    yolo = as_pruned_yolo(pruned, YOLO("yolo26n.yaml"))
    yolo.save(tmp_path / "small.pt")
    assert yolo.how_saved == "", "the order of objects is no difference"
    assert is_end_to_end(load_yolo(tmp_path / "small.pt").model)
    assert not is_end_to_end(load_yolo(tmp_path / "small.pt", nms=True).model)
    larger: Any = stock_model("yolo26s.yaml", 3, 2)
    choose_branch(larger, False, "26s")
    assert [is_end_to_end(built) for _, built in smaller_siblings(larger)] == [True]


def test_only_the_deployed_branch_counts() -> None:
    for nms, wanted, other in ((False, "one2one_cv2", ".cv2."), (True, ".cv2.", "one2one")):
        model = _model(nms=nms)
        head = f"model.{len(model.model) - 1}."
        geometry = model_geometry(model, Pruner(model).groups, SIZE)
        names = [conv.name for conv in geometry.convs if conv.name.startswith(head)]
        assert any(wanted in f".{name.removeprefix(head)}" for name in names)
        assert not any(other in f".{name.removeprefix(head)}" for name in names)
        alone = copy.deepcopy(model)
        alone.model[-1].fuse()
        assert model_size(model, SIZE).macs == model_size(alone, SIZE).macs


def test_what_only_a_loss_reads_does_not_count() -> None:
    model: Any = stock_model("yolo26n-pose.yaml", 3, 1)
    geometry = model_geometry(model, Pruner(model).groups, SIZE)
    assert not any("sigma" in conv.name for conv in geometry.convs)


def test_training_scores_the_chosen_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(YOLO, "train", lambda self, **more: given.append(more.get("nms")))
    for nms in (False, True):
        as_pruned_yolo(_model(nms=nms), YOLO("yolo26n.yaml")).train(data="d.yaml", epochs=1)
    assert given == [False, None]


def test_a_plan_brings_its_branch(tmp_path: Path) -> None:
    model = _model(nms=True)
    yolo = as_pruned_yolo(model, YOLO("yolo26n.yaml"))
    plan = replace(uniform_plan(widths_of(model), 0.2), nms=False)
    plan.save(tmp_path / "plan.yaml")
    small = prune_detection_model(yolo, prune_yaml=tmp_path / "plan.yaml")
    assert is_end_to_end(small.model)
    assert not is_end_to_end(yolo.model), "the model given is unchanged"
    again = prune_detection_model(yolo, prune_yaml=tmp_path / "plan.yaml", nms=True)
    assert not is_end_to_end(again.model)


def test_smaller_images_and_equal_scores_are_compared_too(tmp_path: Path) -> None:
    """All scores of random weights are alike; a cropped model has no branch of its own."""
    cropped = Cropped(_model(nms=False), (32, 32))
    exported = export_model(cropped, tmp_path / "m.onnx", SIZE, "onnxruntime")
    assert exported.end_to_end
    options = RuntimeOptions(runtime="onnxruntime", imgsz=SIZE)
    check_answers(LocalTarget(lock_path=tmp_path / "lock"), exported, options)


def test_the_score_is_of_the_chosen_branch(
    data: DataSummary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other branch says nothing at all: its answers are no numbers."""
    monkeypatch.setattr("autoprune.evaluation.validate._require_finite", lambda module: None)
    for nms, silent in ((False, "cv3"), (True, "one2one_cv3")):
        model = _model(nms=nms)
        for tower in getattr(model.model[-1], silent):
            torch.nn.init.constant_(tower[-1].bias, float("nan"))
        assert validate(model, data, data.val, 64).images == len(data.val)


@pytest.mark.parametrize("name", ["yolo26n", "yolo26n-seg"])
def test_the_exported_file_lists_the_objects(name: str, tmp_path: Path) -> None:
    model = _model(name, nms=False)
    exported = export_model(model, tmp_path / "m.onnx", SIZE, "onnxruntime")
    given, expected, *masks = (np.load(file) for file in exported.reference or ())
    extra = 32 if name.endswith("seg") else 0
    assert expected.shape == (1, 84, 6 + extra)  # every place of a small picture, the best first
    assert len(masks) == bool(extra)
    with torch.no_grad():
        found = model(torch.from_numpy(given))[0]
    listed = found[0] if extra else found
    assert listed[0, :, 4].numpy() == pytest.approx(expected[0, :, 4], abs=1e-5)
    session = onnxruntime.InferenceSession(exported.path)
    assert session.run(None, {"images": given})[0].shape == expected.shape
    assert exported.end_to_end
    assert [check["rows"] for check in exported.checks()] == [True, *[False] * len(masks)]
    assert session.get_modelmeta().custom_metadata_map["end2end"] == "True"
    weights = sum(each.nbytes for each in map(_numbers, _deployed(model)))
    assert exported.path.stat().st_size < 1.15 * weights, "the other branch is in the file"


def _deployed(model: Any) -> list[torch.Tensor]:
    alone = copy.deepcopy(model)
    alone.model[-1].fuse()
    return list(alone.parameters())


def _numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy()
