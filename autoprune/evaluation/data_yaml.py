"""Read a data YAML: class names and the image files of each split. Never downloads."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoprune.errors import ConfigError
from autoprune.evaluation.inside.files import is_image
from autoprune.evaluation.labels import Layout
from autoprune.storage.yaml_io import dump_yaml, load_yaml, write_atomic

MOST_CLASSES = 100_000
KEPT_IDS, CLASSES_IN_FILES = "kept_ids", "classes_in_files"  # keys of our own
_OF_KEYPOINTS = ("flip_idx", "kpt_names", "kpt_oks_sigmas")  # read by Ultralytics alone


@dataclass(frozen=True)
class DataYaml:
    """What a data YAML says, with every path resolved.

    Attributes:
        path: The YAML file.
        root: Folder the splits are relative to.
        names: Class names, by class id.
        splits: "train", "val" and, if given, "test" -> sorted image files.
        channels: Of the images: 1 for grey, 3 for colour.
        kpt_shape: Keypoints of an object, and numbers of each; None in a set of boxes.
        of_keypoints: What else it says about them.
    """

    path: Path
    root: Path
    names: tuple[str, ...]
    splits: dict[str, tuple[Path, ...]]
    channels: int = 3
    kpt_shape: tuple[int, int] | None = None
    of_keypoints: Mapping[str, Any] = field(default_factory=dict)

    def layout(self, task: str, kept: tuple[int, ...] | None = None) -> Layout:
        """Of its label files, to learn a task of TASKS, of some classes or all."""
        return Layout(task, self.kpt_shape, kept)


def read_data_yaml(path: Path | str) -> DataYaml:
    """Parse and check a data YAML in Ultralytics' format; its `download` key is ignored.

    A relative `path` is looked for next to the YAML, then in the working folder.

    Raises:
        ConfigError: Missing or wrong keys, missing folders, a split without images.
    """
    path = Path(path)
    content = load_yaml(path)
    where = str(path)
    channels = content.get("channels", 3)
    if isinstance(channels, bool) or channels not in range(1, 5):
        raise ConfigError.of(where, "channels", channels, "1 (grey) to 4")
    kpt_shape = _keypoints(content.get("kpt_shape"), where)
    if "val" not in content and "validation" in content:
        content["val"] = content["validation"]
    root = _root(path, content.get("path"))
    splits = {}
    for split in ("train", "val", "test"):
        entry = content.get(split) or None
        if entry is None and split != "test":
            raise ConfigError.of(where, split, "nothing", "a folder or list of images")
        if entry is not None:
            splits[split] = _images(entry, root, where, split)
    of_keypoints = {key: content[key] for key in _OF_KEYPOINTS if content.get(key) is not None}
    _check_of_keypoints(of_keypoints, kpt_shape, where)
    return DataYaml(
        path.resolve(),
        root,
        _names(content, where),
        splits,
        channels,
        kpt_shape,
        of_keypoints,
    )


def names_of(names: Sequence[str], kept: tuple[int, ...] | None) -> tuple[str, ...]:
    """Names of the classes that are kept, all for None."""
    return tuple(names if kept is None else (names[each] for each in kept))


def of_classes(names: Sequence[str], kept: tuple[int, ...] | None) -> dict[str, Any]:
    """Keys of a data YAML by which our reader of labels finds the classes that are kept.

    Args:
        names: All class names, by the class id in the label files.
        kept: Those ids; None for all.
    """
    own = {"names": dict(enumerate(names_of(names, kept)))}
    return own if kept is None else {**own, KEPT_IDS: list(kept), CLASSES_IN_FILES: len(names)}


def resolved_data_yaml(path: Path | str, folder: Path, kept: tuple[int, ...] | None = None) -> Path:
    """The data YAML for Ultralytics itself, which would resolve `path` otherwise, or download.

    Args:
        path: A data YAML as `read_data_yaml` takes it.
        folder: Receives a copy with the absolute `path` and without `download`.
        kept: Class ids in the label files that are learned; None for all.

    Raises:
        ConfigError: As `read_data_yaml`.
    """
    described = read_data_yaml(path)
    content = {key: value for key, value in load_yaml(path).items() if key != "download"}
    if kept is not None:
        content |= {"nc": len(kept), **of_classes(described.names, kept)}
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / Path(path).name
    write_atomic(copy, dump_yaml({**content, "path": str(described.root)}))
    return copy


def _root(path: Path, given: Any) -> Path:
    beside = path.resolve().parent
    if given is None:
        return beside
    if not isinstance(given, str):
        raise ConfigError.of(str(path), "path", given, "the folder of the data set")
    for folder in (beside / given, Path.cwd() / given):
        if folder.is_dir():
            return folder.resolve()
    raise ConfigError.of(
        str(path), "path", given, f"an existing folder, relative to {beside} or the working folder"
    )


def _keypoints(given: Any, where: str) -> tuple[int, int] | None:
    if given is None:
        return None
    if not isinstance(given, list) or [type(one) for one in given] != [int, int] or min(given) < 0:
        raise ConfigError.of(where, "kpt_shape", given, "[keypoints, 2 or 3]")
    return given[0], given[1]


def _check_of_keypoints(
    given: Mapping[str, Any], shape: tuple[int, int] | None, where: str
) -> None:
    """What Ultralytics would fail on in the middle of training or validation."""
    points = shape[0] if shape else 0
    flip = given.get("flip_idx")
    if flip is not None and (
        not isinstance(flip, list) or sorted(map(str, flip)) != sorted(map(str, range(points)))
    ):
        raise ConfigError.of(where, "flip_idx", flip, f"each keypoint from 0 to {points - 1} once")
    sigmas = given.get("kpt_oks_sigmas")
    if sigmas is not None and (
        not isinstance(sigmas, list)
        or len(sigmas) != points
        or not all(isinstance(each, (int, float)) and each > 0 for each in sigmas)
    ):
        raise ConfigError.of(where, "kpt_oks_sigmas", sigmas, f"{points} numbers above 0")


def _names(content: dict[Any, Any], where: str) -> tuple[str, ...]:
    names, count = content.get("names"), content.get("nc")
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
        raise ConfigError.of(where, "nc", count, "the number of classes")
    if count is not None and count > MOST_CLASSES:
        raise ConfigError.of(where, "nc", count, f"at most {MOST_CLASSES} classes")
    if names is None:
        if count is None:
            raise ConfigError.of(where, "names", "nothing", "the class names")
        return tuple(f"class_{index}" for index in range(count))
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise ConfigError.of(
                where, "names", list(names), f"class ids 0 to {len(names) - 1} without gaps"
            )
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, list) or not names:
        raise ConfigError.of(where, "names", names, "a list of names, or class id: name")
    if count is not None and count != len(names):
        raise ConfigError.of(where, "nc", count, f"{len(names)}, the number of names")
    return tuple(str(name) for name in names)


def _images(entry: Any, root: Path, where: str, split: str) -> tuple[Path, ...]:
    entries = entry if isinstance(entry, list) else [entry]
    found: set[Path] = set()
    for one in entries:
        if not isinstance(one, str):
            raise ConfigError.of(where, split, one, "a folder or list of images")
        source = (root / one).resolve()  # as Ultralytics does: labels lie beside the target
        if not source.exists() and one.startswith("../"):  # layouts that count from a subfolder
            source = (root / one[3:]).resolve()
        if source.is_dir():
            pattern = str(Path(glob.escape(str(source))) / "**" / "*.*")  # as Ultralytics looks
            files = map(Path, glob.glob(pattern, recursive=True))
            found.update(file for file in files if is_image(file))
        elif source.is_file() and source.suffix.lower() == ".txt":
            found.update(_listed(source, where, split))
        else:
            raise ConfigError.of(where, split, one, f"a folder or .txt list of images in {root}")
    if not found:
        raise ConfigError.of(where, split, entry, "at least one image")
    return tuple(sorted(found))


def _listed(file: Path, where: str, split: str) -> list[Path]:
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError):
        raise ConfigError.of(where, split, file.name, "a readable UTF-8 list of images") from None
    images = []
    for line in filter(None, (line.strip() for line in lines)):
        image = file.parent / line if line.startswith("./") else Path(line)
        if not image.is_file():
            raise ConfigError.of(f"{where}: {split}: {file.name}", "", line, "an image file")
        if is_image(image):
            images.append(Path(os.path.abspath(image)))  # labels lie beside a link, not its target
    return images
