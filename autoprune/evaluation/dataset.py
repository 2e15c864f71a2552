"""DataSummary: a data set, checked, hashed, and divided into images to choose and to judge on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from autoprune.domain.config import BY_DEFAULT, Tolerated
from autoprune.errors import ConfigError
from autoprune.evaluation.data_yaml import DataYaml, names_of, of_classes, read_data_yaml
from autoprune.evaluation.labels import Layout
from autoprune.evaluation.look_through import LookedThrough, Seen, look_through
from autoprune.evaluation.overlap import count_shared
from autoprune.storage.yaml_io import dump_yaml, write_atomic

HELD_OUT = "held-out part of val"


@dataclass(frozen=True)
class DataSummary:
    """A detection data set, checked. Images that are broken are in none of its splits.

    Attributes:
        path: The data YAML.
        sha256: Identity of the data: classes, file names, content of the images and all labels.
        names: Class names, by class id.
        train: Training images.
        val: All images of the YAML's val split.
        test: Images of its test split that serve as final images, () without one.
        overlap: Number of val images whose content also is in train.
        selection_images: What plans are compared on during the search.
        final_images: Never seen by the search; the test split without what is in train or val too,
            or, where that leaves no labelled object, a fixed third of val.
        final_split_name: "test" or "held-out part of val".
        notes: What the user has to know about the images, a sentence each.
        channels: Of the images: 1 for grey, 3 for colour.
        task: What is learned of the labels, a name in TASKS.
        kpt_shape: Keypoints of an object, and numbers of each; None in a set of boxes.
        of_keypoints: What else the YAML says about them.
        names_in_files: All class names, by the class id in the label files.
        kept: The ids there of the classes in `names`; None where those are all.
    """

    path: Path
    sha256: str
    names: tuple[str, ...]
    train: tuple[Path, ...]
    val: tuple[Path, ...]
    test: tuple[Path, ...]
    overlap: int
    selection_images: tuple[Path, ...]
    final_images: tuple[Path, ...]
    final_split_name: str
    notes: tuple[str, ...] = ()
    channels: int = 3
    task: str = "detect"
    kpt_shape: tuple[int, int] | None = None
    of_keypoints: Mapping[str, Any] = field(default_factory=dict)
    names_in_files: tuple[str, ...] = ()
    kept: tuple[int, ...] | None = None

    @property
    def layout(self) -> Layout:
        """Of the label files."""
        return Layout(self.task, self.kpt_shape, self.kept)

    @property
    def classes_in_files(self) -> int:
        """How many classes the label files have."""
        return len(self.names_in_files or self.names)

    def training_yaml(self, folder: Path) -> Path:
        """Write a data YAML of `train` and `selection_images`; returns its path."""
        return self.yaml_of(folder, self.train, self.selection_images)

    def yaml_of(self, folder: Path, train: Sequence[Path], val: Sequence[Path]) -> Path:
        """Write a data YAML of such images in `folder`; returns its path."""
        own = of_classes(self.names_in_files or self.names, self.kept)
        more: dict[str, Any] = {"channels": self.channels, **self.of_keypoints, **own}
        if self.kpt_shape is not None:
            more["kpt_shape"] = list(self.kpt_shape)
        return write_data_yaml(folder, self.names, train, val, more)

    def split_name(self, images: Sequence[Path]) -> str:
        """What a score on these images is called in a record."""
        if tuple(images) == self.final_images:
            return self.final_split_name
        return "val" if set(images) <= set(self.val) else "other images"


def inspect_data(
    path: Path | str,
    tolerated: Tolerated = BY_DEFAULT,
    task: str = "detect",
    kept: tuple[int, ...] | None = None,
) -> DataSummary:
    """Read and check a data set: see `look_through`.

    Args:
        path: The data YAML.
        tolerated: How many images may be broken, and left out, or without labels.
        task: What is learned of the labels, a name in TASKS.
        kept: Class ids in the label files that count, as if there were no others; None for all.

    Raises:
        ConfigError: Missing or wrong YAML, keys, folders or labels; too few images.
    """
    described = read_data_yaml(path)
    looked = look_through(described, tolerated, described.layout(task, kept))
    train, val = looked.images("train"), looked.images("val")
    used = {*train, *val}
    unseen = [one for one in looked.seen.get("test", ()) if one.image not in used]
    if not _labelled(unseen):  # as of competitions that keep them secret
        unseen = []
    test = tuple(one.image for one in unseen)
    selection, final = (val, test) if test else _set_aside(val)
    if not selection or not final:
        raise ConfigError.of(str(path), "val", f"{len(val)} image", "at least 2, or a test split")
    return DataSummary(
        path=described.path,
        sha256=_identity(described, looked, kept),
        names=names_of(described.names, kept),
        train=train,
        val=val,
        test=test,
        overlap=count_shared(val, train),
        selection_images=selection,
        final_images=final,
        final_split_name="test" if test else HELD_OUT,
        notes=tuple(looked.notes()),
        channels=described.channels,
        task=task,
        kpt_shape=described.kpt_shape,
        of_keypoints=described.of_keypoints,
        names_in_files=described.names,
        kept=kept,
    )


def _labelled(images: Sequence[Seen]) -> bool:
    return any(len(one.labels.boxes) for one in images)


def write_data_yaml(
    folder: Path,
    names: Sequence[str],
    train: Sequence[Path],
    val: Sequence[Path],
    more: Mapping[str, Any] = MappingProxyType({}),
) -> Path:
    """Write a data YAML of explicit image lists, with absolute paths.

    Args:
        folder: Receives data.yaml, train.txt and val.txt.
        names: Class names, by class id.
        train: Training images.
        val: Validation images.
        more: Further keys.

    Returns:
        Path of the data.yaml.
    """
    folder = folder.resolve()
    for split, images in (("train", train), ("val", val)):
        write_atomic(folder / f"{split}.txt", "".join(f"{image}\n" for image in images))
    content = {
        "path": str(folder),
        "train": "train.txt",
        "val": "val.txt",
        "names": dict(enumerate(names)),
        **more,
    }
    write_atomic(folder / "data.yaml", dump_yaml(content))
    return folder / "data.yaml"


def _set_aside(images: tuple[Path, ...]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """A third of the images, the same on every machine: by the hash of their names."""
    by_hash = sorted(images, key=lambda image: hashlib.sha256(image.name.encode()).digest())
    held_out = set(by_hash[: max(1, len(images) // 3)])
    selection = tuple(image for image in images if image not in held_out)
    return selection, tuple(image for image in images if image in held_out)


def _identity(described: DataYaml, looked: LookedThrough, kept: tuple[int, ...] | None) -> str:
    names = names_of(described.names, kept)
    about: tuple[object, ...] = (names, described.channels)
    if described.of_keypoints:
        about = (*about, sorted(described.of_keypoints.items(), key=lambda pair: pair[0]))
    digest = hashlib.sha256(repr(about).encode())
    for split, images in looked.seen.items():
        for one in images:
            place = one.image
            if place.is_relative_to(described.root):
                place = place.relative_to(described.root)
            name = place.as_posix().encode("utf-8", "surrogateescape")
            digest.update(split.encode() + b"|" + name + b"|" + one.content)
            digest.update(one.labels.boxes.astype("<f4").tobytes())
            for polygon in one.labels.polygons:
                digest.update(polygon.astype("<f4").tobytes())
            if one.labels.keypoints is not None:
                digest.update(one.labels.keypoints.astype("<f4").tobytes())
    return digest.hexdigest()
