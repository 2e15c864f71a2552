"""The reader of labels says of each file what Ultralytics' own would, and which line is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ultralytics.data.utils import verify_image_label

from autoprune.errors import ConfigError
from autoprune.evaluation.labels import Layout, read_labels

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
    assert _sorted(theirs[1]) == _sorted(
        read_labels(label, CLASSES, Layout("detect", (2, 2))).boxes
    )
    assert len(theirs[1]) == 2
    with pytest.raises(ConfigError, match="expected a polygon"):
        read_labels(label, CLASSES)


KEYPOINTS = {
    "with visibility": ("0 .5 .5 .2 .4 .1 .2 2 .1 .3 0\n1 .5 .5 .2 .4 .4 .2 1 .1 .3 2\n", (2, 3)),
    "without": ("0 .5 .5 .2 .4 .1 .2 .1 .3\n0 .5 .5 .2 .4 -.005 .2 .1 .3\n", (2, 2)),
    "none there": ("", (2, 3)),
    "one object twice": ("0 .5 .5 .2 .4 .1 .2 .1 .3\n" * 2, (2, 2)),
}
NO_KEYPOINTS = {
    "a box alone": ("0 .5 .5 .2 .4\n", (2, 2)),
    "a number too many": ("0 .5 .5 .2 .4 .1 .2 2 .1 .3 0 1\n", (2, 3)),
    "a point outside": ("0 .5 .5 .2 .4 1.2 .2 .1 .3\n", (2, 2)),
    "a point far below 0": ("0 .5 .5 .2 .4 -.2 .2 .1 .3\n", (2, 2)),
}


@pytest.mark.parametrize("kind", KEYPOINTS)
def test_keypoints_are_read_as_ultralytics_reads_them(kind: str, image: Path) -> None:
    text, shape = KEYPOINTS[kind]
    label = image.with_suffix(".txt")
    label.write_text(text)
    theirs = verify_image_label((str(image), str(label), "", True, CLASSES, *shape, False))
    ours = read_labels(label, CLASSES, Layout("pose", shape))
    assert ours.keypoints is not None
    np.testing.assert_allclose(ours.boxes, theirs[1], atol=1e-6)
    np.testing.assert_allclose(ours.keypoints, theirs[4], atol=1e-6)


@pytest.mark.parametrize("kind", NO_KEYPOINTS)
def test_what_holds_no_keypoints_is_refused_by_its_line(kind: str, image: Path) -> None:
    text, shape = NO_KEYPOINTS[kind]
    label = image.with_suffix(".txt")
    label.write_text(text)
    theirs = verify_image_label((str(image), str(label), "", True, CLASSES, *shape, False))
    assert theirs[0] is None
    with pytest.raises(ConfigError, match=r"image\.txt: line 1.*got .*expected .*keypoints"):
        read_labels(label, CLASSES, Layout("pose", shape))


@pytest.mark.parametrize("task", ["segment", "obb"])
def test_boxes_do_not_teach_outlines(task: str, image: Path) -> None:
    label = image.with_suffix(".txt")
    label.write_text("0 .5 .5 .2 .2\n")
    with pytest.raises(ConfigError, match=r"line 1.*expected class x1 y1 x2 y2"):
        read_labels(label, CLASSES, Layout(task))
    label.write_text("0 .1 .1 .3 .1 .3 .3 .1 .3\n")
    assert len(read_labels(label, CLASSES, Layout(task)).polygons) == 1


def test_objects_that_differ_in_their_keypoints_alone_are_two_only_where_those_are_learned(
    image: Path,
) -> None:
    label = image.with_suffix(".txt")
    label.write_text("0 .5 .5 .2 .4 .1 .2 .1 .3\n0 .5 .5 .2 .4 .1 .2 .1 .4\n")
    assert len(read_labels(label, CLASSES, Layout("detect", (2, 2))).boxes) == 1
    assert len(read_labels(label, CLASSES, Layout("pose", (2, 2))).boxes) == 2
