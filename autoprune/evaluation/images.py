"""Load images the way Ultralytics feeds them to a detector: letterboxed, RGB, 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from autoprune.errors import ConfigError
from autoprune.evaluation.inside.files import label_file, read_picture
from autoprune.evaluation.inside.targets import targets
from autoprune.evaluation.labels import BOXES, Labels, Layout, read_labels

_GREY = 114  # Ultralytics' padding, in each channel
_COLOUR = 3  # channels: read as BGR, fed as RGB


@dataclass(frozen=True)
class _Letterboxed:
    """One picture and where the original lies inside it, as fractions of its sides."""

    picture: torch.Tensor  # (channels, height, width), colour as RGB, 0 to 1
    left: float
    top: float
    width: float
    height: float

    def moved(self, labels: Labels) -> Labels:
        """Objects of the original as fractions of the picture."""
        scale = np.array([self.width, self.height], np.float32)
        start = np.array([self.left, self.top], np.float32)
        boxes = labels.boxes.copy()
        boxes[:, 1:3] = boxes[:, 1:3] * scale + start
        boxes[:, 3:5] *= scale
        keypoints = None if labels.keypoints is None else labels.keypoints.copy()
        if keypoints is not None:
            keypoints[..., :2] = keypoints[..., :2] * scale + start
        return Labels(boxes, tuple(each * scale + start for each in labels.polygons), keypoints)


def input_channels(module: nn.Module) -> int:
    """Channels of the pictures that a detector looks at: what its first convolution reads."""
    return next(part.in_channels for part in module.modules() if isinstance(part, nn.Conv2d))


def check_channels(module: nn.Module, channels: int, data: str) -> None:
    """Refuse data whose images have other channels than a detector reads.

    Raises:
        ConfigError: As said; `data` names it.
    """
    if input_channels(module) != channels:
        raise ConfigError.of(data, "channels", channels, f"the model's {input_channels(module)}")


def load_batch(
    images: Sequence[Path], imgsz: int | tuple[int, int], channels: int = _COLOUR
) -> torch.Tensor:
    """Read and letterbox images.

    Args:
        images: Image files.
        imgsz: Side of the square pictures in pixels, or (height, width).
        channels: Of the pictures, 1 to 4; see `input_channels`.

    Returns:
        Float tensor of shape (images, channels, height, width), 0 to 1; three channels are RGB.

    Raises:
        ConfigError: A file is not a readable image of so many channels.
    """
    return torch.stack([_letterbox(image, imgsz, channels).picture for image in images])


def load_labelled_batch(
    images: Sequence[Path],
    imgsz: int,
    classes: int,
    channels: int = _COLOUR,
    layout: Layout = BOXES,
) -> dict[str, torch.Tensor]:
    """Read images with their objects in the form that Ultralytics' loss of a task expects.

    Returns:
        `img` as from `load_batch`, and the objects as `targets` describes them.

    Raises:
        ConfigError: A file is not a readable image or label file.
    """
    placed = [_letterbox(image, imgsz, channels) for image in images]
    objects = [
        each.moved(read_labels(label_file(image), classes, layout))
        for image, each in zip(images, placed, strict=True)
    ]
    pictures = torch.stack([each.picture for each in placed])
    return {"img": pictures, **targets(objects, layout.task, imgsz)}


def _letterbox(image: Path, imgsz: int | tuple[int, int], channels: int) -> _Letterboxed:
    high, wide = (imgsz, imgsz) if isinstance(imgsz, int) else imgsz
    pixels = read_picture(image, channels)
    ratio = min(high / pixels.shape[0], wide / pixels.shape[1])
    height = min(math.ceil(pixels.shape[0] * ratio), high)
    width = min(math.ceil(pixels.shape[1] * ratio), wide)
    if (height, width) != pixels.shape[:2]:
        resized = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
        pixels = np.asarray(resized, np.uint8).reshape(height, width, channels)
    left, top = (wide - width) // 2, (high - height) // 2
    square = np.full((high, wide, channels), _GREY, np.uint8)
    square[top : top + height, left : left + width] = pixels
    if channels == _COLOUR:
        square = square[:, :, ::-1]
    picture = torch.from_numpy(np.ascontiguousarray(square.transpose(2, 0, 1))).float() / 255
    return _Letterboxed(picture, left / wide, top / high, width / wide, height / high)
