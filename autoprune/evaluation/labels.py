"""Read YOLO label files: one object per line, a box with or without keypoints, or a polygon.

The one reader of labels: of what calibration looks at, of what is trained on and scored, and of the
data set's hash. A file is whole or broken; an image whose file is broken is left out everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoprune.domain.task import TASKS
from autoprune.errors import ConfigError

BOX_COLUMNS = 5
ANY_CLASS = 2**31  # more classes than there are, where every id counts as the first
_BEYOND = 0.01  # fraction of the image that a coordinate may lie outside it
_FEWEST_POINTS = 3  # of a polygon
_WITH_VISIBILITY = 3  # numbers of a keypoint


@dataclass(frozen=True)
class Layout:
    """What the lines of a data set's label files hold.

    Attributes:
        task: A name in TASKS. To detect, boxes and polygons will do, and keypoints are passed over.
        keypoints: Of an object, and numbers of each (2, or 3 with visibility); None without any.
        kept: Class ids in the files that count, in the order of the classes they are read as;
            objects of others are passed over. None: all.
    """

    task: str = "detect"
    keypoints: tuple[int, int] | None = None
    kept: tuple[int, ...] | None = None

    @property
    def columns(self) -> int:
        """Numbers in a line with a box."""
        points, numbers = self.keypoints or (0, 0)
        return BOX_COLUMNS + points * numbers

    @property
    def outlines(self) -> bool:
        """Whether every object needs a polygon."""
        return self.task in ("segment", "obb")


BOXES = Layout()


@dataclass(frozen=True)
class Labels:
    """The objects of one image.

    Attributes:
        boxes: Shape (objects, 5): class id and box centre x, y, width, height as fractions of the
            image.
        polygons: Outlines of shape (points, 2), one per object, or none at all.
        keypoints: To learn keypoints: shape (objects, points, 3), x, y and visibility.
    """

    boxes: NDArray[np.float32]
    polygons: tuple[NDArray[np.float32], ...] = ()
    keypoints: NDArray[np.float32] | None = None


def read_labels(file: Path, classes: int, layout: Layout = BOXES) -> Labels:
    """The objects of one image, each once.

    Args:
        file: Label file; a missing one means an image without objects.
        classes: Number of classes in the file.
        layout: What a line holds.

    Raises:
        ConfigError: The file is broken; the message names the line. A line is not numbers, its
            class id is not below `classes`, a coordinate lies more than 1 % outside the image,
            a size is negative, boxes and polygons are mixed, or it is not what the task learns.
    """
    if layout.task == "pose":
        return _with_keypoints(file, classes, layout)
    rows = _rows(file, classes, layout.kept, with_box=layout.columns)
    outlined = any(len(row) > BOX_COLUMNS + 1 for _, _, row in rows)
    if rows and layout.outlines and not outlined:
        raise ConfigError.of(rows[0][0], "", rows[0][1], TASKS[layout.task].row)
    boxes, polygons = [], []
    for where, line, row in rows:
        if outlined and len(row) == BOX_COLUMNS:
            raise ConfigError.of(where, "", line, "a polygon, as in the other lines")
        if not outlined and len(row) != BOX_COLUMNS:
            raise ConfigError.of(where, "", line, TASKS["detect"].row)
        if outlined:
            polygons.append(_polygon(row, where, line))
            boxes.append(_around(row[0], polygons[-1]))
        else:
            boxes.append(np.array(row, np.float32))
        _check_inside(boxes[-1], where, line)
    return Labels(_stacked(boxes), tuple(polygons))


def _with_keypoints(file: Path, classes: int, layout: Layout) -> Labels:
    points, numbers = layout.keypoints or (0, 0)
    boxes, found = [], []
    for where, line, row in _rows(file, classes, layout.kept):
        if len(row) != layout.columns or not points:
            expected = f"{TASKS['pose'].row}, {layout.columns} numbers"
            raise ConfigError.of(where, "", line, expected)
        boxes.append(np.array(row[:BOX_COLUMNS], np.float32))
        _check_inside(boxes[-1], where, line)
        given = np.array(row[BOX_COLUMNS:], np.float32).reshape(points, numbers)
        if given[:, :2].max() > 1 + _BEYOND or given.min() < -_BEYOND:
            expected = "keypoints as fractions of the image, from 0 to 1"
            raise ConfigError.of(where, "", line, expected)
        seen = (given[:, :2] >= 0).all(axis=1, keepdims=True).astype(np.float32)
        found.append(given if numbers == _WITH_VISIBILITY else np.hstack([given, seen]))
    shape = (len(boxes), points, _WITH_VISIBILITY)
    return Labels(_stacked(boxes), keypoints=np.array(found, np.float32).reshape(shape))


def _stacked(boxes: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.array(boxes, np.float32).reshape(-1, BOX_COLUMNS)


def _rows(
    file: Path, classes: int, kept: tuple[int, ...] | None, with_box: int | None = None
) -> list[tuple[str, str, tuple[float, ...]]]:
    """Where it stands, the line and its numbers, for each line but empty and repeated ones.

    Lines of other classes than those `kept` are left out.

    Of lines with `with_box` numbers, those of the box are kept.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError):
        raise ConfigError.of(str(file), "", "unreadable bytes", "a UTF-8 label file") from None
    rows, seen = [], set()
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            where = f"{file}: line {number}"
            row = _numbers(line, where, classes)
            if kept is not None:
                if row[0] not in kept:
                    continue
                row = (float(kept.index(int(row[0]))), *row[1:])
            row = row[:BOX_COLUMNS] if len(row) == with_box else row
            same = np.array(row, np.float32).tobytes()
            if same not in seen:
                rows.append((where, line.strip(), row))
            seen.add(same)
    return rows


def _numbers(line: str, where: str, classes: int) -> tuple[float, ...]:
    try:
        values = tuple(float(value) for value in line.split())
    except ValueError:
        values = ()
    if len(values) < BOX_COLUMNS or not all(map(np.isfinite, values)):
        raise ConfigError.of(where, "", line.strip(), TASKS["detect"].row)
    if not 0 <= values[0] < classes or values[0] != int(values[0]):
        raise ConfigError.of(where, "class", values[0], f"a class id from 0 to {classes - 1}")
    return values


def _polygon(row: tuple[float, ...], where: str, line: str) -> NDArray[np.float32]:
    if len(row) % 2 == 0 or len(row) < 1 + 2 * _FEWEST_POINTS:
        raise ConfigError.of(where, "", line, TASKS["segment"].row)
    return np.array(row[1:], np.float32).reshape(-1, 2)


def _around(class_id: float, polygon: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = polygon.min(0), polygon.max(0)
    return np.array([class_id, *(low + high) / 2, *(high - low)], np.float32)


def _check_inside(box: NDArray[np.float32], where: str, line: str) -> None:
    """Refuse what Ultralytics' own reader refuses an image for."""
    if box[1:].max() > 1 + _BEYOND or box[1:].min() < -_BEYOND:
        raise ConfigError.of(where, "", line, "fractions of the image, from 0 to 1")
    if box[3:].min() < 0:
        raise ConfigError.of(where, "", line, "a width and a height from 0")
