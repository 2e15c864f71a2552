"""Masks, keypoints and rotated boxes: what is learned, scored and kept is the task's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ultralytics import YOLO
from ultralytics.cfg import get_cfg
from ultralytics.data import build_yolo_dataset

from autoprune.errors import ConfigError
from autoprune.evaluation.dataset import DataSummary, inspect_data
from autoprune.evaluation.fine_tune import FineTuneSettings, fine_tune
from autoprune.evaluation.images import load_labelled_batch
from autoprune.evaluation.inside import validator as validators
from autoprune.evaluation.inside.pruned_yolo import as_pruned_yolo, load_pruned
from autoprune.evaluation.inside.stock import stock_model
from autoprune.evaluation.inside.trainer import conv_shapes
from autoprune.evaluation.model_task import check_keypoints, model_task
from autoprune.evaluation.validate import validate
from autoprune.latency.export import export_model
from autoprune.pruning.prune import Pruner, uniform_plan
from autoprune.search.learn.calibration import calibrate
from autoprune.storage.yaml_io import dump_yaml, load_yaml
from tests.evaluation.task_data import KEYPOINTS, NAMES, TASKS, write_task_set

SIZE = 64
ENDINGS = {"segment": "seg", "pose": "pose", "obb": "obb"}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, DataSummary]:
    folder = tmp_path_factory.mktemp("tasks")
    return {task: inspect_data(write_task_set(folder / task, task, 8), task=task) for task in TASKS}


def _model(name: str) -> Any:
    torch.manual_seed(0)
    keypoints = KEYPOINTS if name.endswith("pose") else None
    model: Any = stock_model(f"{name}.yaml", 3, len(NAMES), keypoints)
    model.names = dict(enumerate(NAMES))
    return model


@pytest.mark.parametrize("task", TASKS)
def test_a_batch_holds_the_objects_that_ultralytics_own_data_set_has(
    task: str, sets: dict[str, DataSummary]
) -> None:
    data = sets[task]
    theirs = build_yolo_dataset(
        get_cfg(overrides={"imgsz": SIZE, "task": task}),
        str(data.val[0].parent),
        batch=4,
        data={**load_yaml(data.path), "nc": len(NAMES), "channels": 3},
        mode="val",
        rect=False,
    )
    expected = theirs.collate_fn([theirs[index] for index in range(len(theirs))])
    found = load_labelled_batch(
        [Path(file) for file in theirs.im_files], SIZE, len(NAMES), 3, data.layout
    )
    for key in ("batch_idx", "cls", "bboxes", "masks", "sem_masks", "keypoints"):
        assert (key in found) == (key in expected)
        if key in found:
            torch.testing.assert_close(found[key], expected[key], atol=2e-3, rtol=0)
    extra = {"segment": "masks", "pose": "keypoints", "obb": "bboxes"}[task]
    assert found[extra].numel()
    assert task != "obb" or found["bboxes"].shape[1] == 5


@pytest.mark.parametrize("task", TASKS)
def test_the_score_is_of_the_tasks_own_kind(
    task: str, sets: dict[str, DataSummary], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Predictions are the labels, but for boxes far off, or turned."""
    own = {"segment": "masks", "pose": "keypoints", "obb": "bboxes"}[task]
    wrong_boxes = False

    def perfect(self: Any, preds: list[Any], batch: Any) -> None:
        answers = []
        for number in range(len(preds)):
            labels = self._prepare_batch(number, batch)
            answer = {key: labels[key] for key in ("cls", "bboxes", own)}
            answer["conf"] = torch.full_like(labels["cls"], 0.9)
            if wrong_boxes:
                answer["bboxes"] = labels["bboxes"].clone()
                answer["bboxes"][:, :4] *= 0.2
            answers.append(answer)
        plain(self, answers, batch)

    kind = validators.VALIDATORS[task][0]
    plain = kind.update_metrics
    monkeypatch.setattr(kind, "update_metrics", perfect)
    data, model = sets[task], _model(f"yolov8n-{ENDINGS[task]}")
    found = validate(model, data, data.val, SIZE)
    assert found.metric == model_task(model).metric != "mAP50-95"
    assert found.map50_95 > 0.98
    wrong_boxes = True
    again = validate(model, data, data.val, SIZE).map50_95
    assert again < 0.3 if task == "obb" else again > 0.98


@pytest.mark.parametrize("name", ["yolov8n-obb", "yolo11n-seg", "yolo26n-pose", "yolo26n-seg"])
def test_it_goes_the_whole_way(name: str, sets: dict[str, DataSummary], tmp_path: Path) -> None:
    model = _model(name)
    task = model_task(model).name
    data = sets[task]
    statistics = calibrate(model, data, SIZE, 4, cache=tmp_path / "cache")
    pruner = Pruner(model, "obs", statistics, compensated=True)
    pruned: Any = pruner.prune(uniform_plan(pruner.widths, 0.4))
    shapes = conv_shapes(pruned)
    yaml, settings = data.training_yaml(tmp_path / "run"), FineTuneSettings(epochs=1, distill=0.5)
    tuned = fine_tune(pruned, yaml, SIZE, settings, tmp_path / "run", teacher=model).module
    assert conv_shapes(tuned) == shapes
    yolo = as_pruned_yolo(tuned, YOLO(f"{name}.yaml"))
    yolo.save(tmp_path / "small.pt")
    again = load_pruned(tmp_path / "small.pt")
    assert (again.task, again.model.task) == (task, task)
    again.train(data=str(data.path), epochs=1, imgsz=SIZE, batch=4, workers=0, device="cpu",
                project=str(tmp_path), plots=False, val=False)  # fmt: skip
    assert conv_shapes(again.model) == shapes
    exported = export_model(tuned, tmp_path / "onnx" / "m.onnx", (SIZE, SIZE), "onnxruntime")
    assert len(exported.reference or ()) == (3 if task == "segment" else 2)
    settings_of_val = {"data": str(data.path), "imgsz": SIZE, "batch": 1, "plots": False,
                       "device": "cpu", "workers": 0, "project": str(tmp_path)}  # fmt: skip
    file = YOLO(exported.path)
    assert file.val(**settings_of_val).results_dict.keys() == (
        YOLO(tmp_path / "small.pt").val(**settings_of_val, rect=False).results_dict.keys()
    )
    assert file.task == task


def test_labels_that_do_not_teach_the_task_are_refused(tmp_path: Path) -> None:
    boxes = write_task_set(tmp_path / "boxes", "detect", 4)
    for task in ("segment", "obb"):
        with pytest.raises(ConfigError, match=r"line 1: got .* expected class x1 y1 x2 y2"):
            inspect_data(boxes, task=task)
    with pytest.raises(ConfigError, match=r"kpt_shape: got None, expected \[keypoints, 2 or 3\]"):
        inspect_data(boxes, task="pose")
    boxes.write_text(dump_yaml({**load_yaml(boxes), "kpt_shape": [4, 3]}))
    with pytest.raises(ConfigError, match=r"line 1.*and the keypoints, 17 numbers"):
        inspect_data(boxes, task="pose")


def test_data_with_other_keypoints_than_the_models_are_refused(
    sets: dict[str, DataSummary],
) -> None:
    pose = stock_model("yolov8n-pose.yaml", 3, 2)
    with pytest.raises(ConfigError, match=r"kpt_shape: got \[4, 3\], expected the model's \[17"):
        check_keypoints(pose, sets["pose"].kpt_shape, "data.yaml")
    check_keypoints(_model("yolov8n-pose"), sets["pose"].kpt_shape, "data.yaml")
    check_keypoints(_model("yolov8n-seg"), None, "data.yaml")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"flip_idx": [0, 1]}, r"flip_idx: got .* expected each keypoint from 0 to 3 once"),
        ({"flip_idx": [0, 1, 2, 9]}, "flip_idx: got"),
        ({"kpt_oks_sigmas": [0.1]}, "kpt_oks_sigmas: got .* expected 4 numbers above 0"),
        ({"kpt_oks_sigmas": [0.1, 0, 0.1, 0.1]}, "kpt_oks_sigmas"),
    ],
)
def test_odd_keys_of_keypoints_are_refused_before_any_work(
    changed: dict[str, Any], message: str, sets: dict[str, DataSummary]
) -> None:
    data = sets["pose"]
    odd = data.path.with_name("odd.yaml")
    odd.write_text(dump_yaml({**load_yaml(data.path), **changed}))
    with pytest.raises(ConfigError, match=message):
        inspect_data(odd, task="pose")
    odd.write_text(dump_yaml({**load_yaml(data.path), "kpt_oks_sigmas": [0.1, 0.2, 0.1, 0.1]}))
    assert inspect_data(odd, task="pose").sha256 != data.sha256, "the score hangs on it"


def test_what_is_said_of_keypoints_reaches_training_and_the_hash(
    sets: dict[str, DataSummary], tmp_path: Path
) -> None:
    data = sets["pose"]
    derived = load_yaml(data.training_yaml(tmp_path))
    assert (derived["kpt_shape"], derived["flip_idx"]) == ([4, 3], [1, 0, 3, 2])
    label = data.path.parent / "labels" / "train" / "0.txt"
    before = label.read_text()
    row = before.split()
    label.write_text(before.replace(row[5], "0.50001", 1))
    try:
        assert inspect_data(data.path, task="pose").sha256 != data.sha256
    finally:
        label.write_text(before)
