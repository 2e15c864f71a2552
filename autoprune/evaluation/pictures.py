"""Training images as an exported file takes them: one by one, at its size."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoprune.evaluation.images import load_batch


@dataclass(frozen=True)
class Pictures:
    """Images read each time they are gone through.

    Attributes:
        files: Image files.
        imgsz: Height and width in pixels; a side that is shorter than the other shows the middle.
        channels: Of the pictures.
    """

    files: tuple[Path, ...]
    imgsz: tuple[int, int]
    channels: int

    def __iter__(self) -> Iterator[np.ndarray[Any, Any]]:
        """Arrays (1, channels, height, width), float32, 0 to 1.

        Raises:
            ConfigError: A file is not a readable image of so many channels.
        """
        height, width = self.imgsz
        side = max(self.imgsz)
        top, left = (side - height) // 2, (side - width) // 2
        for file in self.files:
            square = load_batch([file], side, self.channels).numpy()
            yield np.ascontiguousarray(square[:, :, top : top + height, left : left + width])


def sampled(images: tuple[Path, ...], count: int, seed: int) -> tuple[Path, ...]:
    """At most so many of the images, chosen by the seed."""
    if len(images) <= count:
        return images
    return tuple(random.Random(seed).sample(images, count))  # noqa: S311 (not cryptography)
