"""Counts how often a worker died over a candidate: a file that only a clean end removes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autoprune.storage.yaml_io import write_atomic

MAX_ATTEMPTS = 2  # a candidate that took its worker down twice is not tried a third time


@contextmanager
def attempt(folder: Path) -> Iterator[bool]:
    """Work on a candidate in its folder, under its lock; yields False if it took too many down.

    An exception, an interruption by the user included, is no death: the next attempt is free.
    """
    marker = folder / ".attempts"
    deaths = _read(marker)
    if deaths < MAX_ATTEMPTS:
        write_atomic(marker, str(deaths + 1))
    try:
        yield deaths < MAX_ATTEMPTS
    finally:
        marker.unlink(missing_ok=True)


def _read(marker: Path) -> int:
    try:
        return int(marker.read_text())
    except (FileNotFoundError, ValueError):
        return 0
