"""The reader of labels says of each file what Ultralytics' own would, and which line is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ultralytics.data.utils import verify_image_label

from autoprune.errors import ConfigError
from autoprune.evaluation.labels import columns_with, read_labels

CLASSES = 8
SOUND = {
    "boxes": "0 .5 .5 .2 .2\n7 .1 .1 .05 .1\n",
    "the same box twice": "0 .5 .5 .2 .2\n0 .5 .5 .2 .2\n1 .5 .5 .2 .2\n",
    "polygons": "0 .1 .1 .3 .1 .3 .3\n2 .5 .5 .7 .5 .7 .7 .5 .7\n",
    "a polygon twice": "0 .1 .1 .3 .1 .3 .3\n0 .1 .1 .3 .1 .3 .3\n",
    "two polygons of one box": "0 .1 .1 .3 .1 .3 .3\n0 .1 .1 .1 .3 .3 .3\n",
    "a little outside": "0 .5 .5 1.005 .2\n0 -.005 .5 .1 .1\n",
    "blank lines and a byte order mark": "\ufeff\n0 .5 .5 .2 .2\n\n",
    "nothing": "",
}
BROKEN = {
    "a box above 1": "0 1.5 .5 .2 .2\n",
    "a negative place": "0 -.5 .5 .2 .2\n",
    "a negative width": "0 .5 .5 -.2 .2\n",
    "a width a little below 0": "0 .5 .5 -.005 .2\n",
    "six columns": "0 .5 .5 .2 .2 .9\n",
    "a box among polygons": "0 .5 .5 .2 .2\n0 .1 .1 .3 .1 .3 .3 .1 .3\n",
    "an odd number of coordinates": "0 .1 .1 .3 .1 .3 .3 .1\n",
    "a polygon outside": "0 .1 .1 2.9 .1 2.9 .3\n",
    "four columns": "0 .5 .5 .2\n",
    "a class beyond": "8 .5 .5 .2 .2\n",
    "half a class": "0.5 .5 .5 .2 .2\n",
    "nan": "0 nan .5 .2 .2\n",
    "words": "cat .5 .5 .2 .2\n",
}


def _theirs(image: Path, label: Path) -> tuple[np.ndarray, list[np.ndarray]] | None:
    found = verify_image_label((str(image), str(label), "", False, CLASSES, 0, 0, False))
    return None if found[0] is None else (found[1], found[3])


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.new("RGB", (32, 32)).save(tmp_path / "image.png")
    return tmp_path / "image.png"


def _sorted(rows: np.ndarray) -> list[list[float]]:
    return sorted(rows.tolist())


@pytest.mark.parametrize("kind", SOUND)
def test_what_ultralytics_accepts_is_read_as_it_reads_it(kind: str, image: Path) -> None:
    label = image.with_suffix(".txt")
    label.write_text(SOUND[kind], encoding="utf-8")
    theirs = _theirs(image, label)
    assert theirs is not None
    ours = read_labels(label, CLASSES)
    np.testing.assert_allclose(_sorted(ours.boxes), _sorted(theirs[0]), atol=1e-6)
    assert sorted(map(str, ours.polygons)) == sorted(map(str, theirs[1]))
    assert len(ours.polygons) in (0, len(ours.boxes))


@pytest.mark.parametrize("kind", BROKEN)
def test_what_ultralytics_drops_an_image_for_is_refused_by_its_line(kind: str, image: Path) -> None:
    label = image.with_suffix(".txt")
    label.write_text(BROKEN[kind])
    assert _theirs(image, label) is None
    with pytest.raises(ConfigError, match=r"image\.txt: line 1.*got .*expected"):
        read_labels(label, CLASSES)


def test_a_missing_file_means_no_objects_and_other_bytes_are_refused(tmp_path: Path) -> None:
    assert read_labels(tmp_path / "none.txt", CLASSES).boxes.shape == (0, 5)
    (tmp_path / "odd.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="unreadable bytes"):
        read_labels(tmp_path / "odd.txt", CLASSES)


def test_of_rows_with_keypoints_the_box_is_read(image: Path) -> None:
    label = image.with_suffix(".txt")
    label.write_text("3 .5 .5 .2 .4 .1 .2 .1 .3\n0 .1 .1 .1 .1\n")
    theirs = verify_image_label((str(image), str(label), "", False, CLASSES, 2, 2, False))
    assert _sorted(theirs[1]) == _sorted(read_labels(label, CLASSES, columns_with([2, 2])).boxes)
    assert len(theirs[1]) == 2
    with pytest.raises(ConfigError, match="expected a polygon"):
        read_labels(label, CLASSES)
