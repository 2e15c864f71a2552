"""FiniteValidator: Ultralytics' validator of a task, except that nan is an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.models.yolo.obb import OBBValidator
from ultralytics.models.yolo.pose import PoseValidator
from ultralytics.models.yolo.segment import SegmentationValidator

from autoprune.errors import TrialFailed
from autoprune.evaluation.inside.own_labels import own_labels


class FiniteValidator(DetectionValidator):
    """Stops at the first nan: Ultralytics would report it as a plausible mAP of 0.

    Of detection; the other tasks' are below.
    """

    def build_dataset(self, *args: Any, **kwargs: Any) -> Any:
        """As Ultralytics does, with our reader of labels."""
        with own_labels():
            return super().build_dataset(*args, **kwargs)

    def postprocess(self, preds: Any) -> Any:
        """Look at the decoded predictions before they are filtered.

        Raises:
            TrialFailed: ("nan") One is not finite.
        """
        decoded = preds[0] if isinstance(preds, (list, tuple)) else preds
        if not all(torch.isfinite(each).all() for each in _tensors(decoded)):
            raise TrialFailed("nan", "the model's predictions are not finite")
        return super().postprocess(preds)


class FiniteSegmentationValidator(FiniteValidator, SegmentationValidator):
    """Of instance segmentation."""


class FinitePoseValidator(FiniteValidator, PoseValidator):
    """Of keypoints."""


class FiniteOBBValidator(FiniteValidator, OBBValidator):
    """Of rotated boxes."""


VALIDATORS: dict[str, tuple[type[FiniteValidator], str]] = {  # and which metric is the task's
    "detect": (FiniteValidator, "box"),
    "segment": (FiniteSegmentationValidator, "seg"),
    "pose": (FinitePoseValidator, "pose"),
    "obb": (FiniteOBBValidator, "box"),
}


class MainScores(NamedTuple):
    """What a validation found, of the task's own kind.

    Attributes:
        map50: mAP50.
        map50_95: mAP50-95.
        images: Images seen, without those that Ultralytics finds corrupt.
        by_class: Class id -> AP50-95, of the classes that have objects in the images.
    """

    map50: float
    map50_95: float
    images: int
    by_class: dict[int, float]


def main_scores(
    model: nn.Module, folder: Path, settings: dict[str, Any], at_start: Callable[..., None]
) -> MainScores:
    """Validate a model; Ultralytics fuses the layers of the module it is given.

    Args:
        model: Used up.
        folder: Receives what Ultralytics writes.
        settings: Its settings of a validation; "task" names the model's. "imgsz" may be
            (height, width) in pixels.
        at_start: Called once the device and the number of threads are chosen.

    Raises:
        TrialFailed: ("nan") A prediction is not finite.
    """
    kind, metric = VALIDATORS[settings["task"]]
    size = settings["imgsz"]
    square = size if isinstance(size, int) else max(size)
    validator = kind(save_dir=folder, args={**settings, "imgsz": square})
    if square != size:
        validator.args.imgsz = list(size)  # given at once, it would be made a square
    validator.add_callback("on_val_start", at_start)
    validator(model=model)
    found, seen = getattr(validator.metrics, metric), int(validator.seen)
    by_class = zip(found.ap_class_index, found.ap, strict=True)
    by_id = {int(index): float(score) for index, score in by_class}
    return MainScores(float(found.map50), float(found.map), seen, by_id)


def _tensors(found: Any) -> Iterator[Tensor]:
    if isinstance(found, Tensor):
        yield found
    elif isinstance(found, (list, tuple)):
        for each in found:
            yield from _tensors(each)
