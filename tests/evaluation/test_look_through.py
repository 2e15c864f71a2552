"""Broken images are left out everywhere, counted, and too many of them stop the work."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import cv2
import pytest

from autoprune.demo.dataset import Split, write_detection_set
from autoprune.domain.config import Tolerated
from autoprune.errors import ConfigError
from autoprune.evaluation.dataset import inspect_data
from autoprune.evaluation.fingerprint import fingerprint
from autoprune.storage.yaml_io import dump_yaml, load_yaml


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write_detection_set(tmp_path / "set", {"train": Split(3, 40), "val": Split(4, 6)})


def _files(small: Path, kind: str, split: str = "train") -> list[Path]:
    return sorted((small.parent / kind / split).iterdir())


def test_a_broken_label_or_picture_leaves_its_image_out_and_is_told(small: Path) -> None:
    whole = inspect_data(small)
    labels, images = _files(small, "labels"), _files(small, "images")
    labels[0].write_text("0 1.5 .5 .2 .2\n")
    images[1].write_bytes(b"no picture")
    found = inspect_data(small)
    assert found.train == whole.train[2:]
    assert found.val == whole.val
    assert found.sha256 != whole.sha256
    (note,) = found.notes
    assert note.startswith("train: 2 of 40 images are broken and left out, the first: ")
    assert f"{labels[0]}: line 1" in note
    assert not whole.notes


def test_more_than_a_share_of_them_stops_the_work_unless_it_is_allowed(small: Path) -> None:
    for label in _files(small, "labels")[:4]:
        label.write_text("0 .5 .5 .2 .2 .9\n")
    with pytest.raises(ConfigError, match=r"train: 4 of 40 images are broken.*--allow-broken 11 "):
        inspect_data(small)
    assert len(inspect_data(small, Tolerated(broken=11)).train) == 36


def test_images_without_labels_are_counted_and_hardly_any_labels_stop_the_work(small: Path) -> None:
    labels = _files(small, "labels")
    for label in labels[:20]:
        label.unlink()
    assert inspect_data(small).notes == ("train: 20 of 40 images have no labels",)
    for label in labels[20:37]:
        label.write_text("")
    for tolerated in (Tolerated(), Tolerated(broken=100), Tolerated(unlabelled=92)):
        with pytest.raises(ConfigError, match=r"train: 37 of 40 .*--allow-unlabelled 93 if they"):
            inspect_data(small, tolerated)
    assert len(inspect_data(small, Tolerated(broken=0, unlabelled=93)).train) == 40


def test_fewer_images_without_labels_may_be_tolerated_and_never_all(small: Path) -> None:
    labels = _files(small, "labels")
    labels[0].unlink()
    with pytest.raises(ConfigError, match=r"train: 1 of 40 images.*--allow-unlabelled 3 if"):
        inspect_data(small, Tolerated(unlabelled=0))
    for label in labels[1:]:
        label.unlink()
    with pytest.raises(ConfigError, match="train: got 'no labelled object in 40 images'"):
        inspect_data(small, Tolerated(broken=100, unlabelled=100))


@pytest.mark.parametrize("suffix", [".bmp", ".tiff", ".webp", ".png", ".jpg"])
def test_a_picture_that_is_cut_off_is_left_out_whatever_its_format(
    small: Path, suffix: str
) -> None:
    image = _files(small, "images")[0]
    pixels = cv2.imread(str(image))
    image.unlink()
    image = image.with_suffix(suffix)
    cv2.imwrite(str(image), pixels)
    assert image in inspect_data(small).train
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    assert image not in inspect_data(small).train


def test_keypoints_are_passed_over_where_the_yaml_names_them(small: Path) -> None:
    boxes = inspect_data(small)
    for split in ("train", "val"):
        for label in _files(small, "labels", split):
            lines = label.read_text().splitlines()
            label.write_text("".join(f"{line} .1 .2 2 .3 .4 2\n" for line in lines))
    with pytest.raises(ConfigError, match="images are broken"):
        inspect_data(small)
    small.write_text(dump_yaml({**load_yaml(small), "kpt_shape": [2, 3]}))
    found = inspect_data(small)
    assert found.train == boxes.train
    derived = load_yaml(found.training_yaml(small.parent / "run"))
    assert derived["kpt_shape"] == [2, 3]


def test_labels_lie_beside_the_folder_that_a_split_is_linked_to(small: Path) -> None:
    root = small.parent
    expected = inspect_data(small)
    (root / "elsewhere").mkdir()
    for kind in ("images", "labels"):
        (root / kind / "train").rename(root / "elsewhere" / kind)
    (root / "images" / "train").symlink_to(root / "elsewhere" / "images")
    found = inspect_data(small)
    assert found.train[0].parent == root / "elsewhere" / "images"
    assert [image.name for image in found.train] == [image.name for image in expected.train]
    assert not found.notes


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_in_the_place_of_an_image_is_not_waited_for(small: Path) -> None:
    image = _files(small, "images")[0]
    image.unlink()
    os.mkfifo(image)
    (note,) = inspect_data(small).notes
    assert "something else than a file" in note


@pytest.mark.skipif(sys.platform != "linux", reason="names are text there")
@pytest.mark.parametrize("name", [b"odd\xff.jpg", b"two\nlines.jpg"])
def test_a_name_that_no_list_can_hold_leaves_its_image_out(small: Path, name: bytes) -> None:
    image = _files(small, "images")[0]
    image.rename(os.fsdecode(os.fsencode(image.parent) + b"/" + name))
    (note, *_) = inspect_data(small).notes
    assert "got a name that is not one line of UTF-8" in note
    note.encode()  # it can be printed


@pytest.mark.parametrize("kind", ["images", "labels"])
def test_the_hash_sees_content_that_changed_behind_the_same_size_and_time(
    small: Path, kind: str
) -> None:
    before = inspect_data(small).sha256
    file = _files(small, kind, "val")[0]
    status, content = file.stat(), bytearray(file.read_bytes())
    if kind == "images":
        content[len(content) // 2] ^= 1
    else:
        content[0:1] = b"1" if content[:1] != b"1" else b"2"
    file.write_bytes(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = file.stat()
    assert (after.st_size, after.st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert inspect_data(small).sha256 != before


def test_of_a_large_file_blocks_all_over_it_are_looked_at(tmp_path: Path) -> None:
    file, size = tmp_path / "large", 1_000_000
    prints = set()
    for place in (0, 200_000, 600_000, size - 1):
        content = bytearray(size)
        content[place] = 1
        file.write_bytes(content)
        prints.add(fingerprint(file))
    file.write_bytes(bytes(size))
    prints.add(fingerprint(file))
    file.write_bytes(bytes(size + 1))
    prints.add(fingerprint(file))
    assert len(prints) == 6
