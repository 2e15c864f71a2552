"""A second data set, drawn by numpy and OpenCV, and the dense model trained for it.

It differs from the demo in what makes detection hard: three classes of small, numerous, faint
marks in noise, beside distractors that lack only the feature that makes the class (a ring without
a gap, a single bar, a smooth disc). Every pixel follows from the seed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from autoprune.demo.bundle import demo_checkpoint

VERSION = 1  # raise when any change below can alter an image
SIZE_PX = 192
NAMES = ("grain", "gapped ring", "plus")
TRAIN_SEED, VAL_SEED, TEST_SEED = 101, 102, 103
DENSE_IMAGES = 2048  # the dense model learns from; the search fine-tunes on the first 512 of them
SEARCH_SPLITS = {"train": (TRAIN_SEED, 512), "val": (VAL_SEED, 256), "test": (TEST_SEED, 256)}
DENSE_SPLITS = {"train": (TRAIN_SEED, DENSE_IMAGES), "val": (VAL_SEED, 256)}
PLACING_TRIES = 20
_BITS = 4  # OpenCV takes coordinates scaled by 2**bits

Image = NDArray[Any]  # float32
Box = tuple[int, float, float, float, float]  # class, then left, top, right, bottom in pixels

TRAINING: dict[str, Any] = {
    "imgsz": SIZE_PX,
    "batch": 16,
    "optimizer": "AdamW",
    "lr0": 0.002,
    "lrf": 0.02,
    "cos_lr": True,
    "warmup_epochs": 0.5,
    "warmup_bias_lr": 0.0,
    "mosaic": 0.0,
    "scale": 0.2,
    "translate": 0.1,
    "fliplr": 0.5,
    "flipud": 0.5,
    "hsv_h": 0.0,
    "hsv_s": 0.0,
    "workers": 0,
    "cache": "ram",
    "amp": False,
    "seed": 0,
    "plots": False,
    "exist_ok": True,
}


@dataclass(frozen=True)
class _Mark:
    """An object or a distractor: a mask in [0, 1] and the change of brightness it stands for."""

    label: int | None
    mask: Image
    change: Image | float


def second_data_yaml(folder: Path) -> Path:
    """Data YAML of the set that plans are compared on (train 512, val 256, test 256 images)."""
    return _write_set(folder / f"second-set-v{VERSION}", SEARCH_SPLITS)


def second_checkpoint(folder: Path) -> Path:
    """Where `train_second` leaves the dense model."""
    return folder / f"second-dense-v{VERSION}" / "weights" / "best.pt"


def train_second(folder: Path, epochs: int, timeout_s: float | None) -> Path:
    """Train the dense model from the demo's checkpoint, with a class head of its own.

    Args:
        folder: Receives data and weights; a finished training is not repeated.
        epochs: Over DENSE_IMAGES images; ignored when `timeout_s` is given.
        timeout_s: As many epochs as fit into this many seconds.

    Returns:
        Path of the checkpoint.
    """
    # before ultralytics is imported: it sets this variable where it is not set
    threads = int(os.environ.get("OMP_NUM_THREADS", 0)) or os.cpu_count() or 1

    import torch

    import autoprune

    checkpoint = second_checkpoint(folder)
    done = checkpoint.parent.parent / "done"
    if done.exists():
        return checkpoint
    data = _write_set(folder / f"second-dense-data-v{VERSION}", DENSE_SPLITS)
    model = autoprune.load(demo_checkpoint())
    model.add_callback("on_train_start", lambda _: torch.set_num_threads(threads))
    limit: dict[str, Any] = {} if timeout_s is None else {"time": timeout_s / 3600}
    model.train(
        data=str(data),
        epochs=epochs,
        project=str(folder.resolve()),
        name=checkpoint.parent.parent.name,
        **limit,
        **TRAINING,
    )
    done.touch()
    return checkpoint


def draw_scene(seed: tuple[int, ...]) -> tuple[NDArray[np.uint8], list[Box]]:
    """Draw one image: BGR, uint8, (SIZE_PX, SIZE_PX, 3), and its boxes."""
    dice = np.random.default_rng(seed)
    canvas = _background(dice)
    boxes: list[Box] = []
    taken: list[tuple[float, float, float]] = []
    for _ in range(int(dice.integers(10, 26))):
        radius = float(dice.uniform(4.5, 12))
        centre = _free_place(radius, taken, dice)
        if centre is None:
            continue
        taken.append((*centre, radius))
        mark = _mark(centre, radius, dice)
        canvas += (mark.mask * mark.change)[..., None] * dice.uniform(0.7, 1.3, 3)
        if mark.label is not None:
            boxes.append((mark.label, *_extent(mark.mask)))
    canvas += dice.normal(0, dice.uniform(3, 10), canvas.shape)
    return np.clip(canvas, 0, 255).astype(np.uint8), boxes


def _background(dice: np.random.Generator) -> Image:
    shade = np.full((SIZE_PX, SIZE_PX, 3), dice.uniform(70, 185, 3), np.float32)
    for cells, strength in ((4, 18.0), (24, 6.0)):
        rough = dice.normal(0, strength * dice.uniform(0.4, 1), (cells, cells)).astype(np.float32)
        shade += cv2.resize(rough, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_CUBIC)[..., None]
    return shade


def _free_place(
    radius: float, taken: list[tuple[float, float, float]], dice: np.random.Generator
) -> tuple[float, float] | None:
    for _ in range(PLACING_TRIES):
        x, y = (float(value) for value in dice.uniform(radius, SIZE_PX - radius, 2))
        if all(np.hypot(x - u, y - v) > 0.9 * (radius + other) for u, v, other in taken):
            return x, y
    return None


def _mark(centre: tuple[float, float], radius: float, dice: np.random.Generator) -> _Mark:
    contrast = float(dice.choice([-1, 1]) * dice.uniform(18, 48))
    label = int(dice.integers(len(NAMES)))
    true = bool(dice.random() < 0.75)
    name = NAMES[label]
    change: Image | float = contrast
    if name == "grain":
        mask = _disc(centre, radius)
        if true:
            change = contrast * _texture(dice)
    elif name == "gapped ring":
        mask = _ring(centre, radius, float(dice.uniform(45, 100)) if true else 0.0, dice)
    else:
        mask = _bars(centre, radius, 2 if true else 1, dice)
    return _Mark(label if true else None, mask, change)


def _disc(centre: tuple[float, float], radius: float) -> Image:
    mask = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    cv2.circle(mask, _fixed(centre), round(radius * 2**_BITS), 255, -1, cv2.LINE_AA, _BITS)
    return mask.astype(np.float32) / 255


def _texture(dice: np.random.Generator) -> Image:
    """A grating of 3 to 5 pixels per period, values -1 to 1."""
    angle, period = dice.uniform(0, np.pi), dice.uniform(3, 5)
    rows, columns = np.mgrid[0:SIZE_PX, 0:SIZE_PX]
    phase = 2 * np.pi * (rows * np.sin(angle) + columns * np.cos(angle)) / period
    texture: Image = (1.4 * np.sin(phase)).astype(np.float32)
    return texture


def _ring(
    centre: tuple[float, float], radius: float, gap_degrees: float, dice: np.random.Generator
) -> Image:
    mask = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    start = float(dice.uniform(0, 360))
    axes = (round((radius - 1) * 2**_BITS),) * 2
    end = start + 360 - gap_degrees
    cv2.ellipse(mask, _fixed(centre), axes, 0, start, end, 255, 2, cv2.LINE_AA, _BITS)
    return mask.astype(np.float32) / 255


def _bars(
    centre: tuple[float, float], radius: float, count: int, dice: np.random.Generator
) -> Image:
    mask = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    angle = float(dice.uniform(0, np.pi))
    for turn in range(count):
        along = np.array([np.cos(angle + turn * np.pi / 2), np.sin(angle + turn * np.pi / 2)])
        first, second = (np.array(centre) + sign * radius * along for sign in (-1, 1))
        cv2.line(mask, _fixed(first), _fixed(second), 255, 2, cv2.LINE_AA, _BITS)
    return mask.astype(np.float32) / 255


def _extent(mask: Image) -> tuple[float, float, float, float]:
    seen = mask > 0.5
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _fixed(point: Any) -> tuple[int, int]:
    return round(float(point[0]) * 2**_BITS), round(float(point[1]) * 2**_BITS)


def _write_set(folder: Path, splits: dict[str, tuple[int, int]]) -> Path:
    """Generate a set unless it is there; a half-written one never is. Returns its data YAML."""
    if (folder / "data.yaml").exists():
        return folder / "data.yaml"
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    try:
        for split, (seed, count) in splits.items():
            images, labels = draft / "images" / split, draft / "labels" / split
            images.mkdir(parents=True)
            labels.mkdir(parents=True)
            for number in range(count):
                picture, boxes = draw_scene((seed, number))
                name = f"{split}{number:05d}"
                quality = [cv2.IMWRITE_JPEG_QUALITY, 95]
                if not cv2.imwrite(str(images / f"{name}.jpg"), picture, quality):
                    raise OSError(f"{images / name}.jpg: cannot be written")
                (labels / f"{name}.txt").write_text("".join(map(_label_line, boxes)))
        content = {split: f"images/{split}" for split in splits} | {"names": dict(enumerate(NAMES))}
        (draft / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        try:
            draft.rename(folder)
        except OSError:
            if not (folder / "data.yaml").exists():  # else another process was faster
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder / "data.yaml"


def _label_line(box: Box) -> str:
    label, left, top, right, bottom = box
    values = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
    return f"{label} {' '.join(f'{value / SIZE_PX:.6f}' for value in values)}\n"
