"""Load images the way Ultralytics feeds them to a detector: letterboxed, RGB, 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from autoprune.errors import ConfigError
from autoprune.evaluation.inside.files import label_file
from autoprune.evaluation.labels import read_boxes

_GREY = (114, 114, 114)  # Ultralytics' padding colour


@dataclass(frozen=True)
class _Letterboxed:
    """One picture and where the original lies inside it, as fractions of its sides."""

    picture: torch.Tensor  # (3, imgsz, imgsz), RGB, 0 to 1
    left: float
    top: float
    width: float
    height: float


def load_batch(images: Sequence[Path], imgsz: int) -> torch.Tensor:
    """Read and letterbox images.

    Args:
        images: Image files.
        imgsz: Side of the square pictures in pixels.

    Returns:
        Float tensor of shape (images, 3, imgsz, imgsz), RGB, 0 to 1.

    Raises:
        ConfigError: A file is not a readable image.
    """
    return torch.stack([_letterbox(image, imgsz).picture for image in images])


def load_labelled_batch(
    images: Sequence[Path], imgsz: int, classes: int
) -> dict[str, torch.Tensor]:
    """Read images with their boxes in the form Ultralytics' detection loss expects.

    Returns:
        `img` as from `load_batch`; per object `batch_idx` (image number) of shape (n,), `cls` of
        shape (n, 1), and `bboxes` of shape (n, 4): centre x, y, width, height as fractions of
        the letterboxed picture.

    Raises:
        ConfigError: A file is not a readable image or label file.
    """
    pictures, owners, objects = [], [], []
    for number, image in enumerate(images):
        placed = _letterbox(image, imgsz)
        boxes = read_boxes(label_file(image), classes)
        boxes[:, [1, 3]] *= placed.width
        boxes[:, [2, 4]] *= placed.height
        boxes[:, 1] += placed.left
        boxes[:, 2] += placed.top
        pictures.append(placed.picture)
        owners.append(torch.full((len(boxes),), float(number)))
        objects.append(torch.from_numpy(boxes))
    every = torch.cat(objects)
    return {
        "img": torch.stack(pictures),
        "batch_idx": torch.cat(owners),
        "cls": every[:, :1],
        "bboxes": every[:, 1:],
    }


def _letterbox(image: Path, imgsz: int) -> _Letterboxed:
    try:
        pixels = cv2.imdecode(np.fromfile(image, np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        pixels = None
    if pixels is None:
        raise ConfigError.of(str(image), "", "no readable picture", "an image file")
    ratio = imgsz / max(pixels.shape[:2])
    height, width = (min(math.ceil(side * ratio), imgsz) for side in pixels.shape[:2])
    if (height, width) != pixels.shape[:2]:
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
    left, top = (imgsz - width) // 2, (imgsz - height) // 2
    right, bottom = imgsz - width - left, imgsz - height - top
    pixels = cv2.copyMakeBorder(pixels, top, bottom, left, right, cv2.BORDER_CONSTANT, value=_GREY)
    channels_first = np.ascontiguousarray(pixels[:, :, ::-1].transpose(2, 0, 1))
    picture = torch.from_numpy(channels_first).float() / 255
    return _Letterboxed(picture, left / imgsz, top / imgsz, width / imgsz, height / imgsz)
