"""The documented Python API, end to end on a small model."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

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
from autoprune.domain.plan import Calibration, PruningPlan
from autoprune.errors import ConfigError, PlanError
from autoprune.evaluation.regrowth_guard import sealed_info
from autoprune.latency import measure as timing
from autoprune.latency.options import TimingSettings
from autoprune.pruning.prune import uniform_plan, widths_of


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
    plan = uniform_plan(widths_of(dense.model), 0.25, 8)
    plan.save(tmp_path / "plan.yaml")
    by_file = prune_detection_model(dense, prune_yaml=tmp_path / "plan.yaml")
    ours, theirs = by_ratio.model.state_dict(), by_file.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in {*ours, *theirs})


@pytest.fixture(scope="module")
def shapes_model() -> YOLO:
    """Half of a yolov8n, for the set's eight classes, trained at 64 px as far as it says."""
    torch.manual_seed(0)
    dense = YOLO("yolov8n.yaml")
    narrow = {**dense.model.yaml, "scales": {"n": [0.33, 0.125, 512]}}
    dense.model = DetectionModel(narrow, nc=8, verbose=False)
    dense.model.args = {}
    dense.overrides["imgsz"] = 64
    return dense


@pytest.fixture(scope="module")
def with_images(shapes_model: YOLO, data: Path) -> YOLO:
    """Half of `shapes_model`, pruned with images and otherwise as by default. Shared."""
    return prune_detection_model(shapes_model, prune_ratio=0.5, calibration=data)


def _same(one: YOLO, other: YOLO) -> bool:
    ours, theirs = one.model.state_dict(), other.model.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in {*ours, *theirs})


def test_taylor_needs_images_and_uses_them(shapes_model: YOLO, data: Path) -> None:
    with pytest.raises(ConfigError, match=r"importance taylor needs images"):
        prune_detection_model(shapes_model, prune_ratio=0.5, importance="taylor")
    taylor, by_norm = (
        prune_detection_model(
            shapes_model, prune_ratio=0.5, importance=name, calibration=data, compensate=False
        )
        for name in ("taylor", "l2_bn")
    )
    assert _widths(taylor.model) == _widths(by_norm.model)
    assert not _same(taylor, by_norm)


def test_images_decide_the_default_and_the_result_says_so(
    shapes_model: YOLO, with_images: YOLO, data: Path
) -> None:
    without = prune_detection_model(shapes_model, prune_ratio=0.5)
    expected = f"ranked by obs, compensated (up to 256 training images of {data})"
    assert with_images.how_pruned == f"channels {expected}"
    assert without.how_pruned == "channels ranked by l2_bn, not compensated"
    assert _widths(with_images.model) == _widths(without.model)
    plain = prune_detection_model(shapes_model, prune_ratio=0.5, importance="l2_bn")
    assert _same(plain, without)
    for named in ({"importance": "obs"}, {"compensate": True}):
        half = prune_detection_model(
            shapes_model, prune_ratio=0.5, calibration=data,
            **{"importance": "l2_bn", "compensate": False, **named},
        )  # fmt: skip
        assert not _same(half, without), named
        assert not _same(half, with_images), named


@pytest.mark.parametrize("asked", [{"compensate": True}, {"importance": "obs"}])
def test_what_needs_images_and_gets_none_is_one_line(asked: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="needs images: give calibration") as caught:
        prune_detection_model("yolov8n.yaml", prune_ratio=0.5, **asked)
    assert "\n" not in str(caught.value)


def test_the_saved_file_holds_the_plan_that_repeats_it(
    shapes_model: YOLO, data: Path, tmp_path: Path
) -> None:
    pruned = prune_detection_model(shapes_model, prune_ratio=0.5, calibration=data, seed=3)
    pruned.save(tmp_path / "pruned.pt")
    info = sealed_info(load(tmp_path / "pruned.pt").model)
    noted = PruningPlan.from_mapping(info["plan"])
    assert (noted.importance, noted.compensate) == ("obs", True)
    assert noted.calibration == Calibration(str(data), 256, 3)
    noted.save(tmp_path / "plan.yaml")
    again = prune_detection_model(shapes_model, prune_yaml=tmp_path / "plan.yaml")
    assert _same(again, pruned)
    assert again.how_pruned == pruned.how_pruned


def test_a_plans_images_may_have_moved(
    shapes_model: YOLO, with_images: YOLO, data: Path, tmp_path: Path
) -> None:
    plan = PruningPlan.from_mapping(sealed_info(with_images.model)["plan"])
    gone = Calibration(str(tmp_path / "gone.yaml"), 256, 0)
    replace(plan, calibration=gone).save(tmp_path / "plan.yaml")
    with pytest.raises(ConfigError, match=r"gone\.yaml"):
        prune_detection_model(shapes_model, prune_yaml=tmp_path / "plan.yaml")
    moved = prune_detection_model(shapes_model, prune_yaml=tmp_path / "plan.yaml", calibration=data)
    assert _same(moved, with_images)
    found = PruningPlan.from_mapping(sealed_info(moved.model)["plan"]).calibration
    assert found == Calibration(str(data), 256, 0)


def test_a_plan_that_says_no_is_obeyed_where_images_are_known(
    shapes_model: YOLO, data: Path, tmp_path: Path
) -> None:
    widths = widths_of(shapes_model.model)
    plan = uniform_plan(widths, 0.5)
    replace(plan, importance="l2_bn", compensate=False).save(tmp_path / "plan.yaml")
    by_plan = prune_detection_model(
        shapes_model, prune_yaml=tmp_path / "plan.yaml", calibration=data
    )
    assert by_plan.how_pruned == "channels ranked by l2_bn, not compensated"
    assert _same(by_plan, prune_detection_model(shapes_model, prune_ratio=0.5))


def test_a_plan_for_other_weights_is_refused_unless_it_is_insisted_on(
    shapes_model: YOLO, tmp_path: Path
) -> None:
    prune_detection_model(shapes_model, prune_ratio=0.5).save(tmp_path / "pruned.pt")
    plan = PruningPlan.from_mapping(sealed_info(load(tmp_path / "pruned.pt").model)["plan"])
    plan.save(tmp_path / "plan.yaml")
    other = copy.deepcopy(shapes_model)
    other.model.model[0].conv.weight.data[0] += 1
    with pytest.raises(PlanError, match=r"plan\.yaml: base: got .*--any-base"):
        prune_detection_model(other, prune_yaml=tmp_path / "plan.yaml")
    insisted = prune_detection_model(other, prune_yaml=tmp_path / "plan.yaml", any_base=True)
    assert _widths(insisted.model) == _widths(load(tmp_path / "pruned.pt").model)


def test_what_is_odd_about_the_images_is_told(shapes_model: YOLO, tmp_path: Path) -> None:
    odd = write_detection_set(tmp_path / "set", {"train": Split(1, 4), "val": Split(2, 2)})
    label = sorted((odd.parent / "labels" / "train").iterdir())[0]
    label.write_text("0 .5 .5 .2 .2 .9\n")
    with pytest.raises(ConfigError, match="train: 1 of 4 images are broken"):
        prune_detection_model(shapes_model, prune_ratio=0.5, calibration=odd)
    pruned = prune_detection_model(shapes_model, prune_ratio=0.5, calibration=odd, allow_broken=30)
    assert len(pruned.notes) == 1
    assert "left out" in pruned.notes[0]
    label.write_text("")
    with pytest.raises(ConfigError, match="train: 1 of 4 images have no labels"):
        prune_detection_model(shapes_model, prune_ratio=0.5, calibration=odd, allow_unlabelled=10)


def test_pruning_nothing_with_images_changes_nothing(shapes_model: YOLO, data: Path) -> None:
    same = prune_detection_model(shapes_model, prune_ratio=0.0, calibration=data)
    assert _same(same, shapes_model)


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


def test_measure_compares_a_pruned_model_with_its_dense_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = TimingSettings(min_s=0.3, cap_s=3.0, dense_s=0.5, half_width=0.05)
    monkeypatch.setattr(timing, "compare", partial(timing.compare, settings=quick))
    pruned = prune_detection_model("yolov8n.yaml", prune_ratio=0.6)
    pruned.save(tmp_path / "pruned.pt")
    results = measure(["yolov8n.yaml", tmp_path / "pruned.pt"], imgsz=64)
    first, second = results.values()
    assert first.ratio == 1.0
    assert second.ratio_high < 1.0
    assert first.fingerprint == second.fingerprint
