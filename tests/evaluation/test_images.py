from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from ultralytics.cfg import get_cfg
from ultralytics.data import build_yolo_dataset

from autoprune.errors import ConfigError
from autoprune.evaluation.images import load_batch, load_labelled_batch


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Wide, tall, small and square pictures with labels, in Ultralytics' layout."""
    noise = np.random.default_rng(0)
    files = []
    for number, (height, width) in enumerate([(60, 100), (100, 37), (20, 30), (64, 64)]):
        file = tmp_path / "images" / f"{number}.png"
        label = tmp_path / "labels" / f"{number}.txt"
        for folder in (file.parent, label.parent):
            folder.mkdir(exist_ok=True)
        cv2.imwrite(str(file), noise.integers(0, 255, (height, width, 3), dtype=np.uint8))
        label.write_text("1 0.3 0.4 0.2 0.1\n0 0.5 0.5 1 1\n")
        files.append(file)
    return files


def test_pictures_and_boxes_are_those_ultralytics_validates_on(pictures: list[Path]) -> None:
    dataset = build_yolo_dataset(
        get_cfg(overrides={"imgsz": 64, "task": "detect"}),
        str(pictures[0].parent),
        batch=4,
        data={"names": {0: "a", 1: "b"}, "nc": 2, "channels": 3},
        mode="val",
        rect=False,
    )
    expected = dataset.collate_fn([dataset[index] for index in range(len(pictures))])
    found = load_labelled_batch(pictures, 64, 2)
    assert torch.equal(found["img"], load_batch(pictures, 64))
    torch.testing.assert_close(found["img"], expected["img"].float() / 255)
    assert torch.equal(found["batch_idx"], expected["batch_idx"])
    assert torch.equal(found["cls"], expected["cls"])
    # Ultralytics counts half a padding pixel where padding is odd
    torch.testing.assert_close(found["bboxes"], expected["bboxes"], atol=0.6 / 64, rtol=0)


def test_a_polygon_becomes_its_bounding_box(pictures: list[Path]) -> None:
    label = pictures[3].parent.parent / "labels" / "3.txt"
    label.write_text("1 0.1 0.2 0.5 0.2 0.3 0.8\n")
    boxes = load_labelled_batch(pictures[3:], 64, 2)["bboxes"]
    torch.testing.assert_close(boxes, torch.tensor([[0.3, 0.5, 0.4, 0.6]]))


def test_an_image_without_labels_is_background(pictures: list[Path]) -> None:
    (pictures[0].parent.parent / "labels" / "0.txt").unlink()
    assert load_labelled_batch(pictures[:1], 64, 2)["bboxes"].shape == (0, 4)


def test_an_unreadable_picture_is_named(pictures: list[Path]) -> None:
    for content in (b"", b"not a picture"):
        pictures[1].write_bytes(content)
        with pytest.raises(ConfigError, match=r"1\.png"):
            load_batch(pictures, 64)


def test_an_oblong_input_holds_the_whole_picture(pictures: list[Path]) -> None:
    square, oblong = load_batch(pictures[:1], 64), load_batch(pictures[:1], (64, 96))
    assert square.shape[2:] == (64, 64)
    assert oblong.shape[2:] == (64, 96)
    height, width = cv2.imread(str(pictures[0])).shape[:2]
    scale = min(64 / height, 96 / width)
    grey = (oblong[0] == torch.tensor(114 / 255)).all(0)
    assert int((~grey.all(1)).sum()) == pytest.approx(height * scale, abs=1)
    assert int((~grey.all(0)).sum()) == pytest.approx(width * scale, abs=1)
