"""What killed work left half-done in a study's folder."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from autoprune.errors import StorageFailed
from autoprune.storage.locks import Held
from autoprune.storage.study_folder import StudyFolder
from autoprune.storage.yaml_io import drafts_in

_LEFTOVERS = ("fine-tune-*", "export-*", "*.part", "*.part.pt")
_ATTEMPTS = ".attempts"
_OLD_S = 60.0  # a draft that nobody can still be writing


def tidy(study: StudyFolder, locks: Sequence[str]) -> None:
    """Remove what killed work left half-done, where no other search is at work.

    Args:
        study: The study.
        locks: Names of the locks under which searches work in candidates' folders.
    """
    root = study.root
    with contextlib.suppress(Held, OSError, StorageFailed), contextlib.ExitStack() as held:
        for name in locks:
            held.enter_context(study.alone(name, timeout_s=0))
        for folder in (study.dense, *root.glob("baselines/*"), *root.glob("trials/*")):
            if not _leftovers_in(folder) and not (folder / _ATTEMPTS).exists():
                continue
            may_work = study.shared is not None or (folder / ".lock").exists()
            free = study.hold(folder) if may_work else contextlib.nullcontext()
            with contextlib.suppress(Held), free:
                clear_leftovers(folder)
                (folder / _ATTEMPTS).unlink(missing_ok=True)
        for folder in (root, study.report):  # where others may be writing now
            for draft in drafts_in(folder, _OLD_S):
                draft.unlink(missing_ok=True)


def clear_leftovers(folder: Path) -> None:
    """Remove what a killed worker left half-done in a candidate's folder."""
    for leftover in _leftovers_in(folder):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _leftovers_in(folder: Path) -> list[Path]:
    found = [path for pattern in _LEFTOVERS for path in folder.glob(pattern)]
    return [*found, *drafts_in(folder)]
