"""Write the demo's detection set to disk in Ultralytics' layout, once."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import yaml

from autoprune.demo.shapes import CLASS_NAMES, GENERATOR_VERSION, IMGSZ_PX, Box, draw_scene
from autoprune.storage.cache import cache_folder


@dataclass(frozen=True)
class Split:
    """Images `0 .. count-1` of the stream that starts from `seed`."""

    seed: int
    count: int


# The checkpoint was trained on the first CHECKPOINT_IMAGES of the train stream; the search
# fine-tunes on the first 512 of them. Val and test come from streams of their own.
CHECKPOINT_IMAGES = 6144
SPLITS = {"train": Split(1, 512), "val": Split(2, 256), "test": Split(3, 256)}


def demo_data_yaml(root: Path | None = None) -> Path:
    """Return the data YAML of the demo, generating the images on first use (about 10 s).

    Args:
        root: Folder to keep the set in; the user's cache folder by default.

    Returns:
        Path of an Ultralytics data YAML with `train`, `val` and `test`.
    """
    root = root or cache_folder()
    sizes = "-".join(str(split.count) for split in SPLITS.values())
    return write_detection_set(root / f"demo-v{GENERATOR_VERSION}-{sizes}", SPLITS)


def write_detection_set(folder: Path, splits: dict[str, Split]) -> Path:
    """Generate a set into `folder` unless it is there already; a half-written one never is.

    Args:
        folder: Where the set shall live; its parents are created.
        splits: Split name -> which images.

    Returns:
        Path of the set's data YAML.
    """
    data_yaml = folder / "data.yaml"
    if data_yaml.exists():
        return data_yaml
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    try:
        for name, split in splits.items():
            _write_split(draft, name, split)
        names = dict(enumerate(CLASS_NAMES))
        content = {name: f"images/{name}" for name in splits} | {"names": names}
        (draft / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        try:
            os.replace(draft, folder)
        except OSError:
            if not data_yaml.exists():  # else another process finished the same set first
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return data_yaml


def _write_split(folder: Path, name: str, split: Split) -> None:
    images, labels = folder / "images" / name, folder / "labels" / name
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    for index in range(split.count):
        picture, boxes = draw_scene((split.seed, index))
        stem = f"{name}{index:05d}"
        quality = [cv2.IMWRITE_JPEG_QUALITY, 92]
        if not cv2.imwrite(str(images / f"{stem}.jpg"), picture, quality):
            raise OSError(f"{images / stem}.jpg: cannot be written")
        (labels / f"{stem}.txt").write_text("".join(_label_line(box) for box in boxes))


def _label_line(box: Box) -> str:
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    width, height = box.right - box.left, box.bottom - box.top
    values = " ".join(f"{value / IMGSZ_PX:.6f}" for value in (x, y, width, height))
    return f"{box.label} {values}\n"
