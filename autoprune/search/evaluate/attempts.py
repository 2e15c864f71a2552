"""What earlier attempts at a candidate came to: files that only a clean end removes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autoprune.domain.record import Failure
from autoprune.evaluation.watchdog import last_words
from autoprune.storage.yaml_io import write_atomic

MAX_ATTEMPTS = 2  # a candidate that took its worker down twice is not tried a third time


@contextmanager
def attempt(folder: Path) -> Iterator[Failure | None]:
    """Work on a candidate in its folder, under its lock; yields why not, if it must not be tried.

    It must not if it took too many workers down, or hung so that its worker had to be ended: that
    takes minutes each time. An exception, an interruption by the user included, is no death: the
    next attempt is free.
    """
    marker, hung = folder / ".attempts", folder / ".hung"
    refused = _refused(marker, hung)
    if refused is None:
        write_atomic(marker, str(_deaths(marker) + 1))
    try:
        with last_words(hung):
            yield refused
    finally:
        for file in (marker, hung):
            file.unlink(missing_ok=True)


def note_deaths(folder: Path, deaths: int) -> None:
    """Take over how many workers died of a candidate elsewhere."""
    write_atomic(folder / ".attempts", str(max(deaths, _deaths(folder / ".attempts"))))


def _refused(marker: Path, hung: Path) -> Failure | None:
    if hung.exists():
        return Failure(reason="timeout", detail=hung.read_text("utf-8", "replace"))
    if _deaths(marker) >= MAX_ATTEMPTS:
        detail = f"its worker died {MAX_ATTEMPTS} times while working on it"
        return Failure(reason="exception", detail=detail)
    return None


def _deaths(marker: Path) -> int:
    try:
        return int(marker.read_text())
    except (FileNotFoundError, ValueError):
        return 0
