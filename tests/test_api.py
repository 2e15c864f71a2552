"""The documented Python API, end to end on a small model."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel

from autoprune import load, measure, prune_detection_model
from autoprune.demo.dataset import Split, write_detection_set
from autoprune.errors import ConfigError, PlanError
from autoprune.plan import PruningPlan
from autoprune.pruning.prune import uniform_plan


def _widths(module: nn.Module) -> list[tuple[int, int]]:
    convs = (part for part in module.modules() if isinstance(part, nn.Conv2d))
    return [(conv.in_channels, conv.out_channels) for conv in convs]


def _onnx_widths(path: str) -> list[tuple[int, int]]:
    weights = {item.name: item.dims for item in onnx.load(path).graph.initializer}
    nodes = (node for node in onnx.load(path).graph.node if node.op_type == "Conv")
    shapes = [weights[node.input[1]] for node in nodes]
    return [(int(shape[1]), int(shape[0])) for shape in shapes]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    return write_detection_set(folder, {"train": Split(1, 16), "val": Split(2, 8)})


@pytest.mark.filterwarnings("ignore")  # Ultralytics' own export uses torch's old ONNX exporter
def test_channel_counts_survive_train_save_load_export_and_the_runtime(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dense = YOLO("yolov8n.yaml")
    before = copy.deepcopy(dense.model.state_dict())
    model = prune_detection_model(dense, prune_ratio=0.3)
    widths = _widths(model.model)
    assert widths != _widths(dense.model)
    model.train(data=str(data), epochs=2, imgsz=64, batch=8, plots=False, amp=False, workers=0)
    # the data has 8 classes, not 80: only the last layer of the classification towers follows
    assert [pair[0] for pair in _widths(model.model)] == [pair[0] for pair in widths]
    model.save("small.pt")
    again = load("small.pt")
    trained_widths = _widths(again.model)
    assert trained_widths == _widths(model.model)
    exported = again.export(format="onnx", imgsz=64)
    assert sorted(_onnx_widths(exported)) == sorted(trained_widths)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = again.model.eval()(image)[0].numpy()
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    assert np.abs(got - expected).max() <= 1e-3
    after = dense.model.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_a_plan_file_and_the_same_ratio_give_the_same_model(tmp_path: Path) -> None:
    dense = YOLO("yolov8n.yaml")
    by_ratio = prune_detection_model(dense, prune_ratio=0.25, round_to=8)
    from autoprune.families import family_of

    plan = uniform_plan(family_of(dense.model).widths(dense.model), 0.25, 8)
    plan.save(tmp_path / "plan.yaml")
    by_file = prune_detection_model(dense, prune_yaml=tmp_path / "plan.yaml")
    ours, theirs = by_ratio.model.state_dict(), by_file.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in {*ours, *theirs})


def test_taylor_needs_images_and_uses_them(data: Path) -> None:
    dense = YOLO("yolov8n.yaml")
    dense.model = DetectionModel("yolov8n.yaml", nc=8, verbose=False)
    dense.model.args = {}
    dense.overrides["imgsz"] = 64
    with pytest.raises(ConfigError, match="taylor"):
        prune_detection_model(dense, prune_ratio=0.5, importance="taylor")
    taylor = prune_detection_model(dense, prune_ratio=0.5, importance="taylor", calibration=data)
    by_norm = prune_detection_model(dense, prune_ratio=0.5)
    assert _widths(taylor.model) == _widths(by_norm.model)
    ours, theirs = taylor.model.state_dict(), by_norm.model.state_dict()
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_pruned_model_can_be_pruned_again(tmp_path: Path) -> None:
    once = prune_detection_model("yolov8n.yaml", prune_ratio=0.25)
    once.save(tmp_path / "once.pt")
    twice = prune_detection_model(tmp_path / "once.pt", prune_ratio=0.25)
    size = [sum(p.numel() for p in yolo.model.parameters()) for yolo in (once, twice)]
    assert size[1] < size[0]
    assert twice.model.eval()(torch.zeros(1, 3, 64, 64))[0].isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "needle"),
    [
        ({}, "exactly one"),
        ({"prune_ratio": 0.1, "prune_yaml": "x.yaml"}, "exactly one"),
        ({"prune_ratio": 1.0}, "ratio in"),
        ({"prune_ratio": -0.1}, "ratio in"),
        ({"prune_ratio": float("nan")}, "ratio in"),
        ({"prune_yaml": "missing.yaml"}, "missing.yaml"),
        ({"prune_ratio": 0.1, "importance": "magic"}, "magic"),
        ({"prune_ratio": 0.1, "round_to": 0}, "round_to"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(arguments: dict[str, object], needle: str) -> None:
    with pytest.raises(ConfigError) as caught:
        prune_detection_model("yolov8n.yaml", **arguments)  # type: ignore[arg-type]
    assert needle in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_plan_for_another_model_names_what_does_not_fit(tmp_path: Path) -> None:
    plan = PruningPlan({0: 0.1, 1: 0.1})
    plan.save(tmp_path / "short.yaml")
    with pytest.raises(PlanError, match=r"short\.yaml: prune_ratios\.2: missing"):
        prune_detection_model("yolov8n.yaml", prune_yaml=tmp_path / "short.yaml")


def test_measure_compares_a_pruned_model_with_its_dense_one(tmp_path: Path) -> None:
    pruned = prune_detection_model("yolov8n.yaml", prune_ratio=0.6)
    pruned.save(tmp_path / "pruned.pt")
    results = measure(["yolov8n.yaml", tmp_path / "pruned.pt"], imgsz=64)
    first, second = results.values()
    assert first.ratio == 1.0
    assert second.ratio_high < 1.0
    assert first.fingerprint == second.fingerprint
