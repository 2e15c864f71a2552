"""Reads records, each file once until it changes: a search looks at all of them again and again."""

from __future__ import annotations

from pathlib import Path

from autoprune.domain.record import TrialRecord

_State = tuple[int, int, int]  # of a file: when it was written, its size, its number on the disk


class _Known:
    records: dict[Path, tuple[_State, TrialRecord]] = {}  # noqa: RUF012 (of this process)


def load_record(path: Path) -> TrialRecord:
    """The record in a file, as it is now.

    Raises:
        ConfigError: As `TrialRecord.load`.
    """
    state = _state(path)
    known = _Known.records.get(path)
    if known is not None and known[0] == state:
        return known[1]
    record = TrialRecord.load(path)
    if state is not None:
        _Known.records[path] = state, record
    return record


def _state(path: Path) -> _State | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
