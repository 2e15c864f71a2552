"""Measure a model's mAP on a set of images."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autoprune.domain.record import DetectionMetrics
from autoprune.errors import TrialFailed
from autoprune.evaluation.branches import is_end_to_end
from autoprune.evaluation.class_head import check_classes
from autoprune.evaluation.dataset import DataSummary
from autoprune.evaluation.device import choose_device, idle_cores
from autoprune.evaluation.inside.validator import main_scores
from autoprune.evaluation.model_task import model_task
from autoprune.evaluation.watchdog import watched
from autoprune.storage.scratch import scratch_folder


@dataclass(frozen=True)
class Scores:
    """What a validation found.

    Attributes:
        metrics: mAP, and what it was measured on.
        by_class: Class name -> AP50-95 in [0, 1], of the classes that have objects in the images.
    """

    metrics: DetectionMetrics
    by_class: dict[str, float]


def validate(
    model: nn.Module,
    data: DataSummary,
    images: Sequence[Path],
    imgsz: int | tuple[int, int],
    device: str | int | None = "cpu",
    batch: int = 16,
) -> DetectionMetrics:
    """Compute mAP of the kind that the model's task is judged by.

    Of an end-to-end head, of the branch that is exported and timed: see `choose_branch`.

    Args:
        model: A DetectionModel, or a YOLO around one; it stays unchanged (Ultralytics would
            fuse its layers).
        data: Where the images and class names are from; its classes must be the model's.
        images: `data.selection_images`, `data.final_images` or any others.
        imgsz: Side of the square pictures in pixels, or (height, width) of all pictures. (`yolo
            val` crops the padding of each batch instead, which no exported model with a fixed
            input does.)
        device: Where to compute.
        batch: Images per forward pass.

    Returns:
        mAP50 and mAP50-95 in [0, 1], and what they were measured on.

    Raises:
        TrialFailed: ("nan") A weight, a prediction or the metric is not finite. ("timeout") It
            hung.
        ConfigError: The model's classes are not the data's.
    """
    return scores(model, data, images, imgsz, device, batch).metrics


def scores(
    model: nn.Module,
    data: DataSummary,
    images: Sequence[Path],
    imgsz: int | tuple[int, int],
    device: str | int | None = "cpu",
    batch: int = 16,
) -> Scores:
    """As `validate`, with the AP of each class."""
    # a YOLO wraps the DetectionModel, whose own `.model` is the list of layers
    module: Any = model if isinstance(model.model, nn.Sequential) else model.model
    check_classes(module, len(data.names), str(data.path))
    used_up = copy.deepcopy(module).float().eval()
    _require_finite(used_up)
    return validated(module, used_up, data, images, imgsz, device, batch)


def _require_finite(module: nn.Module) -> None:
    """Refuse weights that no file should hold, also where the answers are finite.

    An infinite variance silences its channel, an infinite bias is one for the sigmoid.
    """
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise TrialFailed("nan", f"{name} is not finite")


def validated(
    model: nn.Module,
    used_up: nn.Module,
    data: DataSummary,
    images: Sequence[Path],
    imgsz: int | tuple[int, int],
    device: str | int | None,
    batch: int,
) -> Scores:
    """Validate what answers for a model.

    Args:
        model: What its task and its branch are read from.
        used_up: What answers: a copy of it, or a stand-in. The others: as for `validate`.
    """
    task = model_task(model)
    with (
        scratch_folder("val") as folder,
        idle_cores() as use_idle_cores,
    ):
        yaml = data.yaml_of(Path(folder), images, images)
        settings = {
            "task": task.name,
            "mode": "val",
            "data": str(yaml),
            "split": "val",
            "imgsz": imgsz,
            "batch": batch,
            "rect": False,  # the fixed input that is exported and timed
            "nms": not is_end_to_end(model),
            "device": choose_device(device).removeprefix("cuda:"),
            "workers": 0,
            "plots": False,
            "verbose": False,
        }
        with watched("validation"):
            found = main_scores(used_up, Path(folder), settings, use_idle_cores)
    if not all(map(math.isfinite, (found.map50, found.map50_95, *found.by_class.values()))):
        raise TrialFailed("nan", "mAP is not finite")
    metrics = DetectionMetrics(
        map50=found.map50,
        map50_95=found.map50_95,
        metric=task.metric,
        split=data.split_name(images),
        images=found.images,
    )
    return Scores(metrics, {data.names[index]: each for index, each in found.by_class.items()})
