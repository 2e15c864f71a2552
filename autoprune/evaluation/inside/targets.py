"""The objects of pictures in the form that Ultralytics' loss of a task expects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor
from ultralytics.data.augment import Format
from ultralytics.data.dataset import YOLODataset
from ultralytics.utils.instance import Instances
from ultralytics.utils.ops import resample_segments

from autoprune.evaluation.labels import Labels

_POINTS = {"segment": 1000, "obb": 100}  # that Ultralytics brings every outline to
_KEYS = ("batch_idx", "cls", "bboxes", "masks", "sem_masks", "keypoints")


def targets(pictures: Sequence[Labels], task: str, imgsz: int) -> dict[str, Tensor]:
    """One batch's objects.

    Args:
        pictures: The objects of each picture, as fractions of the square picture.
        task: A name in TASKS.
        imgsz: Side of the pictures in pixels.

    Returns:
        Per object `batch_idx` (picture number) of shape (n,), `cls` of shape (n, 1) and `bboxes` of
        shape (n, 4): centre x, y, width, height as fractions of the picture; with a fifth number,
        the angle in radians, for `obb`. For `segment` also `masks` and `sem_masks` of shape
        (pictures, imgsz / 4, imgsz / 4): at each pixel the object's place in its picture, from 1,
        and its class. For `pose` also `keypoints` of shape (n, points, 3).
    """
    form = Format(
        return_mask=task == "segment", return_keypoint=task == "pose", return_obb=task == "obb"
    )
    blank = np.zeros((imgsz, imgsz, 3), np.uint8)
    found = [form(_labelled(labels, task, blank)) for labels in pictures]
    together: dict[str, Any] = YOLODataset.collate_fn(found)
    return {key: together[key] for key in _KEYS if key in together}


def _labelled(labels: Labels, task: str, picture: np.ndarray[Any, Any]) -> dict[str, Any]:
    outlines = None
    if task in _POINTS:
        outlines = np.zeros((0, _POINTS[task], 2), np.float32)
    if task in _POINTS and labels.polygons:
        longest = max(map(len, labels.polygons))
        points = _POINTS[task] if longest <= _POINTS[task] else longest + 1
        outlines = np.stack(resample_segments([*labels.polygons], n=points))
    objects = Instances(
        labels.boxes[:, 1:].copy(),
        outlines,
        None if labels.keypoints is None else labels.keypoints.copy(),
    )
    return {"img": picture, "cls": labels.boxes[:, :1].copy(), "instances": objects}
