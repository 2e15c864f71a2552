"""Small data sets of every task: two kinds of turned rectangles on noise."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from autoprune.storage.yaml_io import dump_yaml

NAMES = ("bright", "dark")
KEYPOINTS = (4, 3)  # the corners, with visibility
TASKS = ("segment", "pose", "obb")


def write_task_set(folder: Path, task: str, images: int = 12, side_px: int = 96) -> Path:
    """Draw as many images for train and half of them for val; returns the data YAML."""
    noise = np.random.default_rng(3)
    for split, count in (("train", images), ("val", images // 2)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(count):
            picture = noise.integers(90, 150, (side_px, side_px, 3), dtype=np.uint8)
            lines = []
            for _ in range(int(noise.integers(1, 4))):
                label, corners = int(noise.integers(2)), _corners(noise, side_px)
                colour = (230, 220, 240) if label == 0 else (20, 30, 10)
                cv2.fillPoly(picture, [corners.round().astype(np.int32)], colour)
                lines.append(_line(task, label, corners / side_px))
            cv2.imwrite(str(folder / "images" / split / f"{number}.png"), picture)
            (folder / "labels" / split / f"{number}.txt").write_text("\n".join(lines) + "\n")
    content = {"path": str(folder), "train": "images/train", "val": "images/val"}
    more = {"kpt_shape": list(KEYPOINTS), "flip_idx": [1, 0, 3, 2]} if task == "pose" else {}
    file = folder / "data.yaml"
    file.write_text(dump_yaml({**content, "names": dict(enumerate(NAMES)), **more}))
    return file


def _corners(noise: np.random.Generator, side_px: int) -> np.ndarray:
    centre = noise.uniform(0.3, 0.7, 2) * side_px
    size = noise.uniform(0.12, 0.28, 2) * side_px
    angle = noise.uniform(0, np.pi / 2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners: np.ndarray = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * size @ turn.T + centre
    return corners.clip(0, side_px - 1)


def _line(task: str, label: int, corners: np.ndarray) -> str:
    low, high = corners.min(0), corners.max(0)
    box = [*(low + high) / 2, *(high - low)]
    if task == "detect":
        numbers = box
    elif task == "pose":
        numbers = [*box, *np.hstack([corners, np.full((4, 1), 2.0)]).ravel()]
    else:
        numbers = [*corners.ravel()]
    return " ".join([str(label), *(f"{number:.5f}" for number in numbers)])
