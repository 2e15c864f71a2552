"""Count the images of one split whose content also is in another."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

_HEAD_BYTES = 1 << 14


def count_shared(images: Sequence[Path], others: Sequence[Path]) -> int:
    """How many of `images` are byte for byte also in `others`, under whatever name.

    Reads little: only files of equal size are opened, and only those with equal beginnings whole.
    """
    suspects, candidates = list(images), list(others)
    for key in (_size, _head, _content):
        suspects, candidates = _with_partner(suspects, candidates, key)
    return len(suspects)


def _with_partner(
    images: list[Path], others: list[Path], key: Callable[[Path], Hashable]
) -> tuple[list[Path], list[Path]]:
    by_key: dict[Hashable, list[Path]] = defaultdict(list)
    for other in others:
        by_key[key(other)].append(other)
    keys = {image: key(image) for image in images}
    kept = [image for image in images if keys[image] in by_key]
    partners = [other for wanted in {keys[image] for image in kept} for other in by_key[wanted]]
    return kept, partners


def _size(file: Path) -> Hashable:
    return file.stat().st_size


def _head(file: Path) -> Hashable:
    with file.open("rb") as stream:
        return file.stat().st_size, stream.read(_HEAD_BYTES)


def _content(file: Path) -> Hashable:
    return hashlib.sha256(file.read_bytes()).digest()
