"""Grey pictures and those of four channels are calibrated on, trained and validated as any."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from ultralytics.data.build import build_yolo_dataset
from ultralytics.utils import DEFAULT_CFG

from autoprune.demo.dataset import Split, write_detection_set
from autoprune.demo.shapes import CLASS_NAMES
from autoprune.errors import ConfigError
from autoprune.evaluation.dataset import DataSummary, inspect_data
from autoprune.evaluation.fine_tune import FineTuneSettings, fine_tune
from autoprune.evaluation.images import load_batch
from autoprune.evaluation.inside.stock import stock_model
from autoprune.evaluation.recalibrate import recalibrate_batchnorm
from autoprune.evaluation.renormalize import renormalize_batchnorm
from autoprune.evaluation.validate import validate
from autoprune.pruning.prune import Pruner, uniform_plan
from autoprune.search.learn.calibration import calibrate
from autoprune.storage.yaml_io import dump_yaml, load_yaml

SIZE = 64


def _data(root: Path, channels: int) -> DataSummary:
    """A set of pictures of so many channels; four are stored as PNG with alpha."""
    yaml = write_detection_set(root / "set", {"train": Split(1, 6), "val": Split(2, 4)})
    if channels == 4:
        for image in (root / "set" / "images").rglob("*.jpg"):
            pixels = cv2.imread(str(image))
            alpha = np.full((*pixels.shape[:2], 1), 200, np.uint8)
            cv2.imwrite(str(image.with_suffix(".png")), np.concatenate([pixels, alpha], 2))
            image.unlink()
    yaml.write_text(dump_yaml({**load_yaml(yaml), "channels": channels}))
    return inspect_data(yaml)


def _model(channels: int) -> Any:
    torch.manual_seed(0)
    model: Any = stock_model("yolov8n.yaml", channels, len(CLASS_NAMES))
    model.names = dict(enumerate(CLASS_NAMES))
    return model


@pytest.mark.parametrize("channels", [1, 4])
def test_such_a_model_goes_the_whole_way(channels: int, tmp_path: Path) -> None:
    data, model = _data(tmp_path, channels), _model(channels)
    statistics = calibrate(model, data, SIZE, 4, cache=tmp_path / "cache")
    pruner = Pruner(model, "obs", statistics, compensated=True)
    pruned: Any = pruner.prune(uniform_plan(pruner.widths, 0.3))
    recalibrate_batchnorm(pruned, data.train, SIZE)
    renormalize_batchnorm(pruned, data.train, SIZE)
    if channels == 1:
        yaml, settings = data.training_yaml(tmp_path / "run"), FineTuneSettings(epochs=1)
        pruned = fine_tune(pruned, yaml, SIZE, settings, tmp_path / "run").module
    assert pruned.model[0].conv.in_channels == channels
    assert validate(pruned, data, data.val, SIZE).images == 4


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_are_those_that_ultralytics_feeds(channels: int, tmp_path: Path) -> None:
    data = _data(tmp_path, channels)
    described = {"names": dict(enumerate(data.names)), "channels": channels}
    cfg = copy.copy(DEFAULT_CFG)
    cfg.imgsz = SIZE
    theirs = build_yolo_dataset(cfg, str(data.val[0].parent), 4, described, mode="val")
    for item in theirs:
        ours = load_batch([Path(item["im_file"])], SIZE, channels)[0]
        torch.testing.assert_close(ours, item["img"].float() / 255, rtol=0, atol=1.01 / 255)


def test_data_of_other_channels_than_the_models_is_refused(tmp_path: Path) -> None:
    data = _data(tmp_path, 1)
    with pytest.raises(ConfigError, match=r"data\.yaml: channels: got 1, expected the model's 3"):
        calibrate(_model(3), data, SIZE, 4, cache=tmp_path / "cache")
