"""Read YOLO label files: one object per line, `class x y width height` or a polygon.

The one reader of labels: of what calibration looks at, of what is trained on and scored, and of the
data set's hash. A file is whole or broken; an image whose file is broken is left out everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoprune.errors import ConfigError

BOX_COLUMNS = 5
ANY_CLASS = 2**31  # more classes than there are, where every id counts as the first
_BEYOND = 0.01  # fraction of the image that a coordinate may lie outside it
_FEWEST_POINTS = 3  # of a polygon


@dataclass(frozen=True)
class Labels:
    """The objects of one image.

    Attributes:
        boxes: Shape (objects, 5): class id and box centre x, y, width, height as fractions of the
            image.
        polygons: Outlines of shape (points, 2), one per object, or none at all.
    """

    boxes: NDArray[np.float32]
    polygons: tuple[NDArray[np.float32], ...] = ()


def read_labels(file: Path, classes: int, columns: int = BOX_COLUMNS) -> Labels:
    """The objects of one image, each once.

    Args:
        file: Label file; a missing one means an image without objects.
        classes: Number of classes.
        columns: Of a row with a box: what follows its fifth, as keypoints do, is passed over.

    Raises:
        ConfigError: The file is broken; the message names the line. A line is not numbers, its
            class id is not below `classes`, a coordinate lies more than 1 % outside the image,
            a size is negative, or boxes and polygons are mixed.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return Labels(np.zeros((0, 5), np.float32))
    except (OSError, UnicodeDecodeError):
        raise ConfigError.of(str(file), "", "unreadable bytes", "a UTF-8 label file") from None
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    rows = [_numbers(line, f"{file}: line {number}", classes) for number, line in lines]
    rows = [row[:BOX_COLUMNS] if len(row) == columns else row for row in rows]
    outlined = any(len(row) > 6 for row in rows)
    boxes, polygons = [], []
    seen: set[bytes] = set()
    for (number, line), row in zip(lines, rows, strict=True):
        where = f"{file}: line {number}"
        if outlined and len(row) == BOX_COLUMNS:
            raise ConfigError.of(where, "", line.strip(), "a polygon, as in the other lines")
        if not outlined and len(row) != BOX_COLUMNS:
            raise ConfigError.of(where, "", line.strip(), "class x y width height")
        same = np.array(row, np.float32).tobytes()
        if same in seen:
            continue
        seen.add(same)
        if outlined:
            polygons.append(_polygon(row, where, line))
            boxes.append(_around(row[0], polygons[-1]))
        else:
            boxes.append(np.array(row, np.float32))
        _check_inside(boxes[-1], where, line)
    return Labels(np.array(boxes, np.float32).reshape(-1, 5), tuple(polygons))


def columns_with(kpt_shape: Sequence[int] | None) -> int:
    """Columns of a row with a box, in a set of such keypoints: [how many, numbers of each]."""
    points, numbers = kpt_shape or (0, 0)
    return BOX_COLUMNS + int(points) * int(numbers)


def _numbers(line: str, where: str, classes: int) -> tuple[float, ...]:
    try:
        values = tuple(float(value) for value in line.split())
    except ValueError:
        values = ()
    if len(values) < BOX_COLUMNS or not all(map(np.isfinite, values)):
        raise ConfigError.of(where, "", line.strip(), "class x y width height")
    if not 0 <= values[0] < classes or values[0] != int(values[0]):
        raise ConfigError.of(where, "class", values[0], f"a class id from 0 to {classes - 1}")
    return values


def _polygon(row: tuple[float, ...], where: str, line: str) -> NDArray[np.float32]:
    if len(row) % 2 == 0 or len(row) < 1 + 2 * _FEWEST_POINTS:
        raise ConfigError.of(where, "", line.strip(), "class x1 y1 x2 y2 x3 y3 ...")
    return np.array(row[1:], np.float32).reshape(-1, 2)


def _around(class_id: float, polygon: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = polygon.min(0), polygon.max(0)
    return np.array([class_id, *(low + high) / 2, *(high - low)], np.float32)


def _check_inside(box: NDArray[np.float32], where: str, line: str) -> None:
    """Refuse what Ultralytics' own reader refuses an image for."""
    if box[1:].max() > 1 + _BEYOND or box[1:].min() < -_BEYOND:
        raise ConfigError.of(where, "", line.strip(), "fractions of the image, from 0 to 1")
    if box[3:].min() < 0:
        raise ConfigError.of(where, "", line.strip(), "a width and a height from 0")
