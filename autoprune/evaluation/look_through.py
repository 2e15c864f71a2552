"""Look at every image and label file of a data set once: what is broken is left out everywhere."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from autoprune.domain.config import Tolerated
from autoprune.errors import ConfigError
from autoprune.evaluation.data_yaml import DataYaml
from autoprune.evaluation.fingerprint import fingerprint
from autoprune.evaluation.inside.files import label_file, picture_shape
from autoprune.evaluation.labels import ANY_CLASS, BOXES, Labels, Layout, read_labels

_THREADS = 8  # they wait for the disk, above all for one in the network


@dataclass(frozen=True)
class Seen:
    """One image whose picture and labels can be used.

    Attributes:
        image: Its file.
        content: Fingerprint of the picture.
        labels: Its objects.
    """

    image: Path
    content: bytes
    labels: Labels


@dataclass(frozen=True)
class LookedThrough:
    """A data set's images, split by split.

    Attributes:
        seen: Those that can be used.
        broken: The others: file -> why, which names the file and the line.
        all_classes: Whether the labels of all classes were read.
    """

    seen: dict[str, tuple[Seen, ...]]
    broken: dict[str, dict[Path, str]]
    all_classes: bool = True

    def images(self, split: str) -> tuple[Path, ...]:
        """The files of a split that can be used; () of one that is not there."""
        return tuple(one.image for one in self.seen.get(split, ()))

    def unlabelled(self, split: str) -> int:
        """Images of a split that have no object."""
        return sum(not len(one.labels.boxes) for one in self.seen[split])

    def notes(self) -> list[str]:
        """What the user has to know about the images, a sentence each."""
        said = []
        for split, seen in self.seen.items():
            broken = self.broken[split]
            if broken:
                said.append(
                    f"{split}: {len(broken)} of {len(seen) + len(broken)} images are broken and"
                    f" left out, the first: {next(iter(broken.values()))}"
                )
            if bare := self.unlabelled(split):
                what = "no labels" if self.all_classes else "no object of the classes kept"
                said.append(f"{split}: {bare} of {len(seen)} images have {what}")
        return said


def look_through(
    described: DataYaml, tolerated: Tolerated, layout: Layout = BOXES, *, any_class: bool = False
) -> LookedThrough:
    """Read every label file, and of every picture what tells whether it is one.

    Args:
        described: The data set.
        tolerated: How many images may be broken, or without labels.
        layout: What is learned of the label files.
        any_class: Whether class ids beyond the names are sound, as with `single_cls`.

    Raises:
        ConfigError: More are, or no image of train or val has labels.
    """
    found: dict[str, tuple[Seen, ...]] = {}
    broken: dict[str, dict[Path, str]] = {}
    if layout.task == "pose" and not described.kpt_shape:
        raise ConfigError.of(str(described.path), "kpt_shape", None, "[keypoints, 2 or 3]")
    classes = ANY_CLASS if any_class else len(described.names)
    look = partial(_look, described.channels, classes, layout)
    with ThreadPoolExecutor(_THREADS) as pool:
        for split, images in described.splits.items():
            looks = list(pool.map(look, images))
            found[split] = tuple(one for one in looks if isinstance(one, Seen))
            broken[split] = {
                image: one
                for image, one in zip(images, looks, strict=True)
                if not isinstance(one, Seen)
            }
    looked = LookedThrough(found, broken, layout.kept is None)
    for split in described.splits:
        _check_broken(described, looked, split, tolerated.broken)
    for split in ("train", "val"):
        _check_labelled(described, looked, split, tolerated.unlabelled)
    return looked


def _look(channels: int, classes: int, layout: Layout, image: Path) -> Seen | str:
    """The image, or why it cannot be used."""
    try:
        picture_shape(image, channels)
        labels = read_labels(label_file(image), classes, layout)
        return Seen(image, fingerprint(image), labels)
    except (ConfigError, OSError) as error:
        return str(error)


def _check_broken(described: DataYaml, looked: LookedThrough, split: str, allowed: float) -> None:
    broken, every = looked.broken[split], len(described.splits[split])
    percent = 100 * len(broken) / every
    if percent > allowed:
        raise ConfigError(
            f"{described.path}: {split}: {len(broken)} of {every} images are broken, the first:"
            f" {next(iter(broken.values()))}; at most {allowed:g} % may be left out"
            f" (--allow-broken {_enough(percent)} leaves them out)"
        )


def _check_labelled(described: DataYaml, looked: LookedThrough, split: str, allowed: float) -> None:
    bare, every = looked.unlabelled(split), len(looked.seen[split])
    expected = "label files in a labels folder beside images"
    if bare == every:
        got = f"no labelled object in {every} images"
        raise ConfigError.of(str(described.path), split, got, expected)
    percent = 100 * bare / every
    if percent > allowed and looked.all_classes:  # a rare class is in few images
        raise ConfigError(
            f"{described.path}: {split}: {bare} of {every} images have no labels, expected"
            f" {expected} (--allow-unlabelled {_enough(percent)} if they show no object)"
        )


def _enough(percent: float) -> int:
    """The next whole percent."""
    return min(100, int(percent) + 1)
