"""Reads records, each file once until it changes: a search looks at all of them again and again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from autoprune.domain.record import TrialRecord

_State = tuple[int, int, int]  # of a file: when it was written, its size, its number on the disk


class _Known:
    records: dict[str, tuple[_State, TrialRecord]] = {}  # noqa: RUF012 (of this process)


def load_record(path: Path | str) -> TrialRecord:
    """The record in a file, as it is now.

    Raises:
        ConfigError: As `TrialRecord.load`.
    """
    name = str(path)
    state = _state(name)
    known = _Known.records.get(name)
    if known is not None and known[0] == state:
        return known[1]
    record = TrialRecord.load(Path(path))
    if state is not None:
        _Known.records[name] = state, record
    return record


def record_files(folder: Path) -> Iterator[str]:
    """Where each folder below one has its record.json, if it has one; as text, for speed."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return
    yield from (f"{folder}{os.sep}{name}{os.sep}record.json" for name in names)


def _state(path: str) -> _State | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
