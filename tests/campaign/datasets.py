"""Data sets as people have them: odd layouts and names, broken files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from autoprune.demo.dataset import Split, write_detection_set
from autoprune.demo.shapes import CLASS_NAMES
from autoprune.storage.yaml_io import dump_yaml, load_yaml

Make = Callable[[Path], Path]


def _plain(folder: Path, name: str = "set") -> Path:
    return write_detection_set(folder / name, {"train": Split(1, 24), "val": Split(2, 12)})


def _yaml(**changes: Any) -> Make:
    """The plain set with other keys; None takes one out."""

    def make(folder: Path) -> Path:
        yaml = _plain(folder)
        content = {**load_yaml(yaml), **changes}
        kept = {key: value for key, value in content.items() if value is not None}
        yaml.write_text(dump_yaml(kept))
        return yaml

    return make


def _called(name: str) -> Make:
    return lambda folder: _plain(folder, name)


def _labels(change: Callable[[Path, int], None], split: str = "train") -> Make:
    """The plain set with something done to each label file."""

    def make(folder: Path) -> Path:
        yaml = _plain(folder)
        for number, label in enumerate(sorted((yaml.parent / "labels" / split).iterdir())):
            change(label, number)
        return yaml

    return make


def _images(change: Callable[[Path], None], split: str = "train", every: int = 1) -> Make:
    def make(folder: Path) -> Path:
        yaml = _plain(folder)
        for image in sorted((yaml.parent / "images" / split).iterdir())[::every]:
            change(image)
        return yaml

    return make


def _some(row: str, every: int = 30) -> Callable[[Path, int], None]:
    """Add a line to every so many files."""

    def change(label: Path, number: int) -> None:
        if number % every == 0:
            label.write_text(label.read_text() + row)

    return change


def _as(suffix: str, convert: Callable[[Image.Image], Image.Image] = lambda it: it) -> Any:
    def change(image: Path) -> None:
        with Image.open(image) as picture:
            changed = convert(picture.copy())
        image.unlink()
        changed.save(image.with_suffix(suffix))

    return change


def _sixteen_bits(image: Path) -> None:
    pixels = cv2.imread(str(image)).astype(np.uint16) * 257
    image.unlink()
    cv2.imwrite(str(image.with_suffix(".png")), pixels)


def _rotated(image: Path) -> None:
    with Image.open(image) as picture:
        exif = picture.getexif()
        exif[274] = 6
        picture.copy().save(image, exif=exif)


def _pipe(image: Path) -> None:
    image.unlink()
    os.mkfifo(image)


def _odd_name(image: Path) -> None:
    image.rename(os.fsdecode(os.fsencode(image.parent) + b"/\xff\xfe.jpg"))


def _lists(folder: Path) -> Path:
    yaml = _plain(folder)
    for split in ("train", "val"):
        names = sorted(image.name for image in (yaml.parent / "images" / split).iterdir())
        lines = "".join(f"./images/{split}/{name}\n" for name in names)
        (yaml.parent / f"{split}.txt").write_text(lines)
    content = {**load_yaml(yaml), "path": ".", "train": "train.txt", "val": "val.txt"}
    yaml.write_text(dump_yaml(content))
    return yaml


def _two_folders(folder: Path) -> Path:
    yaml = _plain(folder)
    root = yaml.parent
    for kind in ("images", "labels"):
        (root / kind / "more").mkdir()
        for file in sorted((root / kind / "train").iterdir())[::2]:
            file.rename(root / kind / "more" / file.name)
    yaml.write_text(dump_yaml({**load_yaml(yaml), "train": ["images/train", "images/more"]}))
    return yaml


def _linked(folder: Path) -> Path:
    real = _plain(folder, "real")
    (folder / "link").symlink_to(real.parent, target_is_directory=True)
    return folder / "link" / real.name


def _read_only(folder: Path) -> Path:
    yaml = _plain(folder)
    for place in (yaml.parent, *yaml.parent.rglob("*")):
        place.chmod(0o555 if place.is_dir() else 0o444)
    return yaml


def _stale_cache(folder: Path) -> Path:
    yaml = _plain(folder)
    for split in ("train", "val"):
        (yaml.parent / "labels" / f"{split}.cache").write_bytes(b"not even a cache")
    return yaml


def _one_image(folder: Path) -> Path:
    return write_detection_set(folder / "set", {"train": Split(1, 1), "val": Split(2, 1)})


def _no_labels(folder: Path) -> Path:
    yaml = _plain(folder)
    shutil.rmtree(yaml.parent / "labels")
    return yaml


def _reordered(label: Path, _: int) -> None:
    lines = label.read_text().splitlines()
    label.write_text("".join(f"{(int(line[0]) - 1) % 8}{line[1:]}\n" for line in lines))


def _unlink_half(label: Path, number: int) -> None:
    if number % 2:
        label.unlink()


def _windows(label: Path, _: int) -> None:
    label.write_bytes(b"\xef\xbb\xbf" + label.read_bytes().replace(b"\n", b" \r\n"))


def _permuted(folder: Path) -> Path:
    names = list(CLASS_NAMES)
    yaml = _labels(_reordered)(folder)
    for label in (yaml.parent / "labels" / "val").iterdir():
        _reordered(label, 0)
    yaml.write_text(dump_yaml({**load_yaml(yaml), "names": [*names[1:], names[0]]}))
    return yaml


_NAMES = list(CLASS_NAMES)

SOUND: dict[str, Make] = {
    "plain": _plain,
    "lists with ./": _lists,
    "no path": _yaml(path=None),
    "path .": _yaml(path="."),
    "two training folders": _two_folders,
    "a linked folder": _linked,
    "read-only": _read_only,
    "a folder with spaces, # and %20": _called("my set #1 %20"),
    "a folder with umlauts": _called("Bilder für Übung"),
    "names in capitals": _yaml(names=[name.upper() for name in _NAMES]),
    "names no, yes and 1": _yaml(names=["no", "yes", "1", "null", "~", "ä", "a: b", "#"]),
    "names twice": _yaml(names=["thing"] * 8),
    "names in another order": _permuted,
    "half without labels": _labels(_unlink_half),
    "labels of Windows": _labels(_windows),
    "png": _images(_as(".png")),
    "webp": _images(_as(".webp")),
    "grey files": _images(_as(".jpg", lambda picture: picture.convert("L"))),
    "cmyk files": _images(_as(".jpg", lambda picture: picture.convert("CMYK"))),
    "files with alpha": _images(_as(".png", lambda picture: picture.convert("RGBA"))),
    "sixteen bits": _images(_sixteen_bits),
    "rotated by exif": _images(_rotated),
    "a stale cache": _stale_cache,
    "one box beyond": _labels(_some("0 1.5 .5 .2 .2\n")),
    "one label of six columns": _labels(_some("0 .5 .5 .2 .2 .9\n")),
    "one polygon among boxes": _labels(_some("0 .1 .1 .3 .1 .3 .3\n")),
    "one name that is no text": _images(_odd_name, every=30),
    "one pipe": _images(_pipe, every=30),
}

BROKEN: dict[str, Make] = {
    "three classes": _yaml(names=["a", "b", "c"]),
    "a billion classes": _yaml(names=None, nc=1_000_000_000),
    "names from 1": _yaml(names={index + 1: name for index, name in enumerate(_NAMES)}),
    "no labels at all": _no_labels,
    "val without objects": _labels(lambda label, _: label.write_text("") and None, "val"),
    "one image": _one_image,
    "every box beyond": _labels(_some("0 1.5 .5 .2 .2\n", 1)),
    "pipes": _images(_pipe, "val"),
    "no pictures": _images(lambda image: image.write_bytes(b"no picture") and None),
    "grey, says the file": _yaml(channels=1),
}

# What is too little to search with, and enough for a fine-tune.
TRAINS = ("one image",)
