"""Training images as an exported file takes them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from autoprune.evaluation.images import load_batch
from autoprune.evaluation.pictures import Pictures, sampled


def test_pictures_have_the_size_of_the_file_and_can_be_gone_through_again(tmp_path: Path) -> None:
    files = tuple(tmp_path / f"{number}.png" for number in range(2))
    for number, file in enumerate(files):
        cv2.imwrite(str(file), np.full((20, 40, 3), (0, 0, 90 + number), np.uint8))
    pictures = Pictures(files, (32, 64), 3)
    first, again = (np.concatenate(list(pictures)) for _ in range(2))
    assert first.shape == (2, 3, 32, 64)
    assert first.dtype == np.float32
    assert np.array_equal(first, again)
    assert np.allclose(first[1, 0], 91 / 255), "the whole picture, and no padding"
    square = np.concatenate(list(Pictures(files, (64, 64), 3)))
    assert np.array_equal(square, load_batch(files, 64).numpy())


def test_the_seed_chooses_the_images() -> None:
    images = tuple(Path(f"{number}.jpg") for number in range(50))
    assert sampled(images, 60, 0) == images
    assert sampled(images, 8, 1) == sampled(images, 8, 1) != sampled(images, 8, 2)
    assert len({*sampled(images, 8, 1)}) == 8
