"""Read YOLO label files: one object per line, `class x y width height` or a polygon."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoprune.errors import ConfigError


def read_boxes(file: Path, classes: int) -> NDArray[np.float32]:
    """The objects of one image.

    Args:
        file: Label file; a missing one means an image without objects.
        classes: Number of classes.

    Returns:
        Shape (objects, 5): class id and box centre x, y, width, height as fractions of the image.

    Raises:
        ConfigError: A line is not numbers, or its class id is not below `classes`.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return np.zeros((0, 5), np.float32)
    except (OSError, UnicodeDecodeError):
        raise ConfigError.of(str(file), "", "unreadable bytes", "a UTF-8 label file") from None
    boxes = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            boxes.append(_box(line, f"{file}: line {number}", classes))
    return np.array(boxes, np.float32).reshape(-1, 5)


def _box(line: str, where: str, classes: int) -> list[float]:
    try:
        values = [float(value) for value in line.split()]
    except ValueError:
        values = []
    if len(values) < 5 or not all(map(np.isfinite, values)):
        raise ConfigError.of(where, "", line.strip(), "class x y width height")
    if not 0 <= values[0] < classes or values[0] != int(values[0]):
        raise ConfigError.of(where, "class", values[0], f"a class id from 0 to {classes - 1}")
    if len(values) == 5:
        return values
    xs, ys = values[1::2], values[2::2]
    left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
    return [values[0], (left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
