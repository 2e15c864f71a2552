"""Ultralytics' data set of images and boxes, with our reader of labels.

Ultralytics keeps what it read beside the user's labels, trusts that by size and name alone, and
repairs pictures in place. Here nothing is written, and only the files themselves are read.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ultralytics.data import build
from ultralytics.data.dataset import YOLODataset

from autoprune.errors import ConfigError
from autoprune.evaluation.data_yaml import CLASSES_IN_FILES, KEPT_IDS
from autoprune.evaluation.inside.files import picture_shape
from autoprune.evaluation.labels import ANY_CLASS, Layout, read_labels
from autoprune.storage.scratch import scratch_folder

_REMEMBERED = 4  # data sets: those that a process trains and validates on in turns

_Scan = dict[str, Any]


class OwnLabelsDataset(YOLODataset):
    """Reads labels once per process, and again when a file has changed."""

    _scans: dict[tuple[object, ...], _Scan] = {}  # noqa: RUF012 (shared on purpose)

    def _load_or_scan_cache(self, cache_path: Path, cache_hash: str) -> tuple[_Scan, bool]:
        del cache_path, cache_hash
        key = (
            self._classes(),
            self._layout(),
            self.channels,
            *map(_state, [*self.im_files, *self.label_files]),
        )
        if key not in self._scans:
            while len(self._scans) >= _REMEMBERED:
                self._scans.pop(next(iter(self._scans)))
            with scratch_folder("labels") as folder:
                self._scans[key] = self.cache_labels(Path(folder) / "labels.cache")
        return copy.deepcopy(self._scans[key]), False

    def verify_args(self) -> tuple[Any, Iterable[tuple[str, str]]]:
        """What is called for each image, and with what."""
        read = partial(_read, self._classes(), self._layout(), int(self.channels))
        return read, zip(self.im_files, self.label_files, strict=True)

    def _layout(self) -> Layout:
        asked = {"segment": self.use_segments, "pose": self.use_keypoints, "obb": self.use_obb}
        points, numbers = self.data.get("kpt_shape") or (0, 0)
        task = next((task for task, wanted in asked.items() if wanted), "detect")
        kept = self.data.get(KEPT_IDS)
        return Layout(task, (int(points), int(numbers)), None if kept is None else tuple(kept))

    def _classes(self) -> int:
        known: int = self.data.get(CLASSES_IN_FILES) or len(self.data["names"])
        return ANY_CLASS if self.single_cls else known


@contextmanager
def own_labels() -> Iterator[None]:
    """The data sets that Ultralytics builds meanwhile are `OwnLabelsDataset`s."""
    stock = build.YOLODataset
    build.YOLODataset = OwnLabelsDataset
    try:
        yield
    finally:
        build.YOLODataset = stock


def _read(classes: int, layout: Layout, channels: int, asked: tuple[str, str]) -> list[Any]:
    """One image in the form of Ultralytics' `verify_image_label`."""
    image, label = asked
    found = Path(label).is_file()
    try:
        shape = picture_shape(Path(image), channels)
        labels = read_labels(Path(label), classes, layout)
    except ConfigError as error:
        return [None, None, None, None, None, 0, int(found), 0, 1, f"left out: {error}"]
    counts = [int(not found), int(found), int(found and not len(labels.boxes)), 0]
    found_there = [labels.boxes, shape, list(labels.polygons), labels.keypoints]
    return [image, *found_there, *counts, ""]


def _state(file: str) -> tuple[object, ...]:
    """What changes when a file does: its status changes even where its mtime is set back."""
    try:
        status = Path(file).stat()
    except OSError:
        return (file,)
    return file, status.st_size, status.st_mtime_ns, status.st_ctime_ns
