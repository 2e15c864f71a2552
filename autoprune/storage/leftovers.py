"""What killed work left half-done in a candidate's folder."""

from __future__ import annotations

import shutil
from pathlib import Path

_LEFTOVERS = ("fine-tune-*", "export-*", "*.part", "*.part.pt")


def leftovers_in(folder: Path) -> bool:
    """Whether killed work left something half-done in a candidate's folder."""
    return any(next(folder.glob(pattern), None) for pattern in (*_LEFTOVERS, ".attempts"))


def clear_leftovers(folder: Path) -> None:
    """Remove what a killed worker left half-done in a candidate's folder."""
    for leftover in (path for pattern in _LEFTOVERS for path in folder.glob(pattern)):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
