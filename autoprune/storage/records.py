"""Reads records, each file once until it changes: a search looks at all of them again and again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from autoprune.domain.record import TrialRecord
from autoprune.errors import BrokenContent

_PARTS = {"trial": "trials", "baseline": "baselines"}  # where a kind of record is
_State = tuple[int, int, int]  # of a file: when it was written, its size, its number on the disk


class _Known:
    records: dict[str, tuple[_State, TrialRecord]] = {}  # noqa: RUF012 (of this process)


def load_record(path: Path | str) -> TrialRecord:
    """The record in a file, as it is now, in its own place.

    Raises:
        BrokenContent: It is broken, or another one's, copied here.
        ConfigError: As `TrialRecord.load`.
    """
    name = str(path)
    state = _state(name)
    known = _Known.records.get(name)
    if known is not None and known[0] == state:
        return known[1]
    record = TrialRecord.load(Path(path))
    _check_place(name, record)
    if state is not None:
        _Known.records[name] = state, record
    return record


def _check_place(path: str, record: TrialRecord) -> None:
    part, own, _ = path.rsplit(os.sep, 2)
    name = record.name if record.number is None else f"{record.number:04d}"
    if name != own or not part.endswith(os.sep + _PARTS.get(record.kind, os.sep)):
        raise BrokenContent.of(path, "name", record.name, f"the record of {own}")


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
