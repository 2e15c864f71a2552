"""Training and validation read labels as they are now, and leave the user's folders alone."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from ultralytics import YOLO
from ultralytics.data.build import build_yolo_dataset
from ultralytics.utils import DEFAULT_CFG

from autoprune.demo.bundle import demo_checkpoint
from autoprune.demo.dataset import Split, write_detection_set
from autoprune.demo.shapes import CLASS_NAMES
from autoprune.domain.config import Tolerated
from autoprune.evaluation.dataset import inspect_data
from autoprune.evaluation.fine_tune import FineTuneSettings, fine_tune
from autoprune.evaluation.inside.own_labels import OwnLabelsDataset, own_labels
from autoprune.evaluation.validate import validate
from autoprune.storage.yaml_io import load_yaml

SIZE = 64


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write_detection_set(tmp_path / "set", {"train": Split(1, 4), "val": Split(2, 12)})


def _score(yaml: Path) -> float:
    data = inspect_data(yaml, Tolerated(broken=100))
    return validate(YOLO(demo_checkpoint()), data, data.val, 160).map50_95


def _dataset(yaml: Path, split: str = "val") -> object:
    data = {**load_yaml(yaml), "channels": 3, "names": dict(enumerate(CLASS_NAMES))}
    folder = str(yaml.parent / "images" / split)
    return build_yolo_dataset(DEFAULT_CFG, folder, 4, data, mode="val")


def _swap_classes(small: Path) -> None:
    """As rsync -t or an unpacked archive would: size and mtime stay."""
    swap = {"0": "1", "1": "0"}
    for label in (small.parent / "labels").rglob("*.txt"):
        status = label.stat()
        lines = label.read_text().splitlines()
        label.write_text("".join(swap.get(line[0], line[0]) + line[1:] + "\n" for line in lines))
        os.utime(label, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_labels_that_changed_behind_their_size_and_time_are_read_again(small: Path) -> None:
    first = _score(small)
    _swap_classes(small)
    assert _score(small) < first - 0.05


def test_a_cache_that_ultralytics_left_is_not_trusted_and_none_is_written(small: Path) -> None:
    fresh = _score(small)
    _swap_classes(small)
    _dataset(small)  # Ultralytics' own, of the swapped labels
    caches = list(small.parent.rglob("*.cache"))
    assert caches, "if this fails, Ultralytics learned to leave the user's folders alone"
    _swap_classes(small)
    assert _score(small) == fresh
    for cache in caches:
        cache.unlink()
    before = sorted(small.parent.rglob("*"))
    _score(small)
    data = inspect_data(small)
    settings = FineTuneSettings(epochs=1)
    yaml = data.training_yaml(small.parent.parent / "run")
    fine_tune(YOLO(demo_checkpoint()), yaml, SIZE, settings, small.parent.parent / "run")
    assert sorted(small.parent.rglob("*")) == before


@pytest.mark.parametrize(("spoil", "used"), [("cut off", False), ("something behind", True)])
def test_a_picture_is_never_repaired_in_place(small: Path, spoil: str, used: bool) -> None:
    """Ultralytics writes another one over it."""
    image = next((small.parent / "images" / "val").glob("*.jpg"))
    whole = image.read_bytes()
    spoiled = whole[: len(whole) // 2] if spoil == "cut off" else whole + b"more"
    image.write_bytes(spoiled)
    data = inspect_data(small, Tolerated(broken=20))
    assert (image in data.val) == used
    assert validate(YOLO(demo_checkpoint()), data, data.val, 160).images == len(data.val)
    assert image.read_bytes() == spoiled


def test_a_sound_set_is_the_one_that_ultralytics_reads(small: Path) -> None:
    theirs = _dataset(small)
    with own_labels():
        ours = _dataset(small)
    assert isinstance(ours, OwnLabelsDataset)
    assert not isinstance(theirs, OwnLabelsDataset)
    assert ours.im_files == theirs.im_files
    for one, other in zip(ours.labels, theirs.labels, strict=True):
        assert one.keys() == other.keys()
        assert one["shape"] == other["shape"]
        for key in ("cls", "bboxes"):
            np.testing.assert_array_equal(one[key], other[key])


def test_what_the_data_summary_leaves_out_is_not_scored(small: Path) -> None:
    for label in sorted((small.parent / "labels" / "val").glob("*.txt"))[::2]:
        label.write_text(label.read_text() + "0 .5 .5 .2 .2 .9\n")
    data = inspect_data(small, Tolerated(broken=60))
    found = validate(YOLO(demo_checkpoint()), data, data.val, 160)
    assert found.images == len(data.val) == 6
