"""What earlier attempts at a candidate came to: files that only a clean end removes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from autoprune.domain.record import Failure
from autoprune.errors import FailureReason
from autoprune.evaluation.watchdog import last_words, leave_note
from autoprune.storage.yaml_io import write_atomic

MAX_ATTEMPTS = 2  # a candidate that took its worker down twice is not tried a third time
_MARKER = ".attempts"  # attempts begun and not ended, then how the last one did, if that is known
_NOTES: dict[FailureReason, str] = {"timeout": ".hung", "oom": ".too-large"}
_KILLED = "exit status -9"  # by the system or by somebody; the first is what happens by itself


@contextmanager
def attempt(folder: Path) -> Iterator[Failure | None]:
    """Work on a candidate in its folder, under its lock; yields why not, if it must not be tried.

    It must not if it took too many workers down, or if its worker had to be ended because it hung
    or grew beyond its memory: a second time it would do the same. An exception, an interruption by
    the user included, is no death: the next attempt is free.
    """
    marker = folder / _MARKER
    refused = _refused(folder)
    if refused is None:
        write_atomic(marker, str(_deaths(marker)[0] + 1))
    try:
        with last_words(folder / _NOTES["timeout"]):
            yield refused
    finally:
        forget_attempts(folder)


def note_end(folder: Path, failure: Failure) -> None:
    """Leave word of why the worker at a candidate is about to be ended: "timeout" or "oom"."""
    leave_note(folder / _NOTES[failure.reason], failure.detail)


def note_deaths(folder: Path, deaths: int) -> None:
    """Take over how many workers died of a candidate elsewhere."""
    known, how = _deaths(folder / _MARKER)
    write_atomic(folder / _MARKER, f"{max(deaths, known)}\n{how}")


def forget_attempts(folder: Path) -> None:
    """Of a candidate that is done: its attempts count no more."""
    for name in (_MARKER, *_NOTES.values()):
        (folder / name).unlink(missing_ok=True)


def note_death(folder: Path, how: str) -> None:
    """Add to a candidate's attempts how the last one took its worker down."""
    marker = folder / _MARKER
    with suppress(OSError):
        if deaths := _deaths(marker)[0]:
            write_atomic(marker, f"{deaths}\n{how}")


def _refused(folder: Path) -> Failure | None:
    for reason, name in _NOTES.items():
        if (note := folder / name).exists():
            return Failure(reason=reason, detail=note.read_text("utf-8", "replace"))
    deaths, how = _deaths(folder / _MARKER)
    if deaths < MAX_ATTEMPTS:
        return None
    detail = f"its worker died {MAX_ATTEMPTS} times while working on it"
    if how.startswith(_KILLED):
        detail += ", killed as when memory is out"
        return Failure(reason="oom", detail=detail)
    return Failure(reason="crash", detail=f"{detail}: {how}" if how else detail)


def _deaths(marker: Path) -> tuple[int, str]:
    try:
        count, _, how = marker.read_text("utf-8", "replace").partition("\n")
        return int(count), how
    except (FileNotFoundError, ValueError):
        return 0, ""
