"""The demo's generated images with an outline of what is visible of each object as its label."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from autoprune.demo.dataset import Split, write_detection_set
from autoprune.demo.shapes import IMGSZ_PX, Mask, draw_objects

_ROUGHNESS_PX = 0.5  # of an outline


def write_mask_set(folder: Path, splits: dict[str, Split]) -> Path:
    """Write a set for segmentation unless it is there already.

    Args:
        folder: Where it shall live.
        splits: Split name -> which images.

    Returns:
        Its data YAML.
    """
    data, done = write_detection_set(folder, splits), folder / "outlined"
    if done.exists():
        return data
    for name, split in splits.items():
        for index in range(split.count):
            _, objects = draw_objects((split.seed, index))
            lines = [f"{box.label} {_outline(visible)}\n" for box, visible in objects]
            (folder / "labels" / name / f"{name}{index:05d}.txt").write_text("".join(lines))
    done.touch()
    return data


def _outline(visible: Mask) -> str:
    """Points of the largest visible part, as fractions of the image."""
    filled = (visible > 127).astype(np.uint8)
    parts, _ = cv2.findContours(filled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(parts, key=cv2.contourArea)
    points = cv2.approxPolyDP(largest, _ROUGHNESS_PX, closed=True).reshape(-1, 2)
    if len(points) < 3:
        points = largest.reshape(-1, 2)
    if len(points) < 3:  # a sliver: the pixels' own corners
        x, y, width, height = cv2.boundingRect(largest)
        corners = [[x, y], [x + width, y], [x + width, y + height], [x, y + height]]
        points = np.array(corners)
    return " ".join(f"{value / IMGSZ_PX:.5f}" for value in np.asarray(points, float).ravel())
