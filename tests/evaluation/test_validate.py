from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from ultralytics import YOLO

from autoprune.errors import ConfigError, TrialFailed
from autoprune.evaluation.checkpoint import model_hash
from autoprune.evaluation.dataset import HELD_OUT, DataSummary
from autoprune.evaluation.inside.files import label_file
from autoprune.evaluation.inside.validator import FiniteValidator
from autoprune.evaluation.labels import read_labels
from autoprune.evaluation.validate import validate


def test_the_score_is_ultralytics_own_and_the_model_stays_as_it_was(
    dense: YOLO, data: DataSummary, tmp_path: Path
) -> None:
    module = dense.model.train()
    before, parts = model_hash(module), len(list(module.modules()))
    threads = torch.get_num_threads()
    found = validate(dense, data, data.selection_images, 64)
    assert (found.split, found.images) == ("val", 6)
    assert model_hash(module) == before
    assert len(list(module.modules())) == parts, "the model was fused"
    assert module.training
    assert torch.get_num_threads() == threads
    stock = dense.val(
        data=str(data.training_yaml(tmp_path)), imgsz=64, rect=False, plots=False, project=tmp_path
    )
    assert (found.map50, found.map50_95) == (stock.box.map50, stock.box.map)


def test_a_detector_that_is_right_scores_one(
    dense: YOLO, data: DataSummary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Predictions are replaced by the labels, so any wrong image, label or class would show."""

    def perfect(self: FiniteValidator, preds: Any) -> Any:
        files = self.dataloader.dataset.im_files
        start = self.seen
        batch = files[start : start + len(preds[0])]
        side = 64
        answers = []
        for file in batch:
            boxes = torch.from_numpy(read_labels(label_file(Path(file)), len(data.names)).boxes)
            centre, half = boxes[:, 1:3] * side, boxes[:, 3:] * side / 2
            answers.append(
                {
                    "bboxes": torch.cat([centre - half, centre + half], 1),
                    "conf": torch.full((len(boxes),), 0.9),
                    "cls": boxes[:, 0],
                    "extra": torch.zeros(len(boxes), 0),
                }
            )
        return answers

    monkeypatch.setattr(FiniteValidator, "postprocess", perfect)
    found = validate(dense.model, data, data.final_images, 64)
    assert found.map50_95 == pytest.approx(0.995, abs=0.01)  # Ultralytics' value for a perfect one
    assert (found.split, found.images) == (HELD_OUT, 2)


@pytest.mark.parametrize(
    ("tensor", "value", "said"),
    [
        ("weight", float("nan"), "model.6.cv2.bn.weight is not finite"),
        ("running_var", float("inf"), "model.6.cv2.bn.running_var is not finite"),
        ("a layer's output", float("nan"), "predictions are not finite"),
    ],
)
def test_a_weight_or_a_prediction_that_is_not_finite_fails_the_trial(
    pruned_module: nn.Module, data: DataSummary, tensor: str, value: float, said: str
) -> None:
    spoiled = copy.deepcopy(pruned_module)
    block = spoiled.model[6].cv2
    if tensor == "a layer's output":
        block.register_forward_hook(lambda _, __, output: output * value)
    else:
        getattr(block.bn, tensor).data[0] = value
    with pytest.raises(TrialFailed, match=said) as caught:
        validate(spoiled, data, data.selection_images, 64)
    assert caught.value.reason == "nan"


def test_data_of_other_classes_is_refused(data: DataSummary) -> None:
    with pytest.raises(ConfigError, match="the model's 80"):
        validate(YOLO("yolov8n.yaml"), data, data.selection_images, 64)
