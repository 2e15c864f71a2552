"""A file counts once it has run: for one that is wrong the next exporter steps in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from autoprune.errors import FailureReason, TrialFailed
from autoprune.latency.exported_model import ExportedModel

_WRONG_FILE: tuple[FailureReason, ...] = ("export", "latency")

Answer = TypeVar("Answer")


def first_right(
    write: Callable[[str | None], ExportedModel], run: Callable[[ExportedModel], Answer]
) -> tuple[ExportedModel, Answer]:
    """The first file, in the order of the runtime's exporters, that runs as it should.

    Args:
        write: Exporter (None: before the first) -> the file of the next one after it; see
            `export_model`.
        run: Runs a file and compares its output with torch's.

    Returns:
        The file, and what `run` returned for it.

    Raises:
        TrialFailed: As `write` for the first file. As `run` for the last one that could be written,
            with reason "export" (not torch's output) or "latency" (does not run). As `run` at once,
            with any other reason: another file would not help.
    """
    exported = write(None)
    while True:
        try:
            return exported, run(exported)
        except TrialFailed as failure:
            if failure.reason not in _WRONG_FILE:
                raise
            try:
                exported = write(exported.exporter)
            except TrialFailed:
                raise failure from None
