"""Reads records, each file once until it changes: a search looks at all of them again and again."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from autoprune.domain.record import TrialRecord
from autoprune.errors import BrokenContent, ConfigError

_PARTS = {"trial": "trials", "baseline": "baselines"}  # where a kind of record is
_State = tuple[int, int, int]  # of a file: when it was written, its size, its number on the disk


class _Known:
    records: dict[str, tuple[_State, TrialRecord]] = {}  # noqa: RUF012 (of this process)


def load_record(path: Path | str) -> TrialRecord | None:
    """The record in a file, as it is now, in its own place; None where there is none (any more).

    Another process may write or remove it at any moment, between two looks at it too.

    Raises:
        BrokenContent: It is broken, or another one's, copied here.
        ConfigError: As `TrialRecord.load`.
    """
    name = str(path)
    state = _state(name)
    if state is None:
        return None
    known = _Known.records.get(name)
    if known is not None and known[0] == state:
        return known[1]
    try:
        record = TrialRecord.load(Path(path))
    except ConfigError:
        if _state(name) is None:
            return None
        raise
    _check_place(name, record)
    _Known.records[name] = state, record
    return record


def _check_place(path: str, record: TrialRecord) -> None:
    part, own, _ = path.rsplit(os.sep, 2)
    if folder_name(record) != own or not part.endswith(os.sep + _PARTS.get(record.kind, os.sep)):
        raise BrokenContent.of(path, "name", record.name, f"the record of {own}")


def folder_name(record: TrialRecord) -> str:
    """What the folder of a trial or baseline is called."""
    return record.name if record.number is None else f"{record.number:04d}"


def record_files(folder: Path, but: Collection[str] = ()) -> Iterator[str]:
    """Where each folder below one has its record.json, if it has one; as text, for speed.

    Args:
        folder: Of the trials, or of the baselines.
        but: Names of folders that are left out.
    """
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name not in but]
    except (FileNotFoundError, NotADirectoryError):
        return
    yield from (f"{folder}{os.sep}{name}{os.sep}record.json" for name in names)


def _state(path: str) -> _State | None:
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    return found.st_mtime_ns, found.st_size, found.st_ino
