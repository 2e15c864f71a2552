"""DataSummary: a data set, checked, hashed, and divided into images to choose and to judge on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autoprune.errors import ConfigError
from autoprune.evaluation.data_yaml import DataYaml, read_data_yaml
from autoprune.evaluation.inside.files import label_file
from autoprune.evaluation.labels import read_boxes
from autoprune.evaluation.overlap import count_shared
from autoprune.storage.yaml_io import dump_yaml, write_atomic

HELD_OUT = "held-out part of val"


@dataclass(frozen=True)
class DataSummary:
    """A detection data set, checked.

    Attributes:
        path: The data YAML.
        sha256: Identity of the data: classes, file names, image sizes and all labels.
        names: Class names, by class id.
        train: Training images.
        val: All images of the YAML's val split.
        test: Images of its test split that serve as final images, () without one.
        overlap: Number of val images whose content also is in train.
        selection_images: What plans are compared on during the search.
        final_images: Never seen by the search; the test split without what is in train or val too,
            or, where that leaves no labelled object, a fixed third of val.
        final_split_name: "test" or "held-out part of val".
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

    def training_yaml(self, folder: Path) -> Path:
        """Write a data YAML of `train` and `selection_images`; returns its path."""
        return write_data_yaml(folder, self.names, self.train, self.selection_images)

    def split_name(self, images: Sequence[Path]) -> str:
        """What a score on these images is called in a record."""
        if tuple(images) == self.final_images:
            return self.final_split_name
        return "val" if set(images) <= set(self.val) else "other images"


def inspect_data(path: Path | str) -> DataSummary:
    """Read and check a data set. Reads every label file; images are opened only to find overlap.

    Raises:
        ConfigError: Missing or wrong YAML, keys, folders or labels; too few images.
    """
    described = read_data_yaml(path)
    splits = described.splits
    for split in ("train", "val"):
        if not _labelled(splits[split], described):
            got = f"no labelled object in {len(splits[split])} images"
            expected = "label files in a labels folder beside images"
            raise ConfigError.of(str(path), split, got, expected)
    digest = _identity(described)
    used = {*splits["train"], *splits["val"]}
    test = tuple(image for image in splits.get("test", ()) if image not in used)
    if not _labelled(test, described):  # as of competitions that keep them secret
        test = ()
    selection, final = (splits["val"], test) if test else _set_aside(splits["val"])
    if not selection or not final:
        raise ConfigError.of(
            str(path), "val", f"{len(splits['val'])} image", "at least 2, or a test split"
        )
    return DataSummary(
        path=described.path,
        sha256=digest,
        names=described.names,
        train=splits["train"],
        val=splits["val"],
        test=test,
        overlap=count_shared(splits["val"], splits["train"]),
        selection_images=selection,
        final_images=final,
        final_split_name="test" if test else HELD_OUT,
    )


def _labelled(images: Sequence[Path], described: DataYaml) -> bool:
    return any(len(read_boxes(label_file(image), len(described.names))) for image in images)


def write_data_yaml(
    folder: Path, names: Sequence[str], train: Sequence[Path], val: Sequence[Path]
) -> Path:
    """Write a data YAML of explicit image lists, with absolute paths.

    Args:
        folder: Receives data.yaml, train.txt and val.txt.
        names: Class names, by class id.
        train: Training images.
        val: Validation images.

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
    }
    write_atomic(folder / "data.yaml", dump_yaml(content))
    return folder / "data.yaml"


def _set_aside(images: tuple[Path, ...]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """A third of the images, the same on every machine: by the hash of their names."""
    by_hash = sorted(images, key=lambda image: hashlib.sha256(image.name.encode()).digest())
    held_out = set(by_hash[: max(1, len(images) // 3)])
    selection = tuple(image for image in images if image not in held_out)
    return selection, tuple(image for image in images if image in held_out)


def _identity(described: DataYaml) -> str:
    digest = hashlib.sha256(repr(described.names).encode())
    for split, images in described.splits.items():
        for image in images:
            boxes = read_boxes(label_file(image), len(described.names))
            shown = (
                image.relative_to(described.root) if image.is_relative_to(described.root) else image
            )
            digest.update(f"{split}|{shown.as_posix()}|{image.stat().st_size}\n".encode())
            digest.update(boxes.astype("<f4").tobytes())
    return digest.hexdigest()
