"""SharedStudy: what workers in other folders, or on other machines, have in common of a study."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Protocol

MARK = ".storage"  # in a folder that is a cache: says of what
MOST_BYTES = 32_000_000  # of one file that is kept in a database

_OF_THE_STUDY = frozenset(
    {
        "study.yaml",
        "asked_space.yaml",
        "outcome.yaml",
        "calibration.json",
        "latency_predictor.json",
        "space.yaml",
        "verdict.json",
        "profile.json",
        "stages.json",
        "progress.jsonl",
        "best.yaml",
        "dense/record.json",
        "dense/plan.yaml",
    }
)
_OF_A_CANDIDATE = re.compile(
    r"(trials/[0-9]{4,9}|baselines/[A-Za-z0-9][A-Za-z0-9._-]{0,99})/(record\.json|plan\.yaml)"
)
_WEIGHTS = re.compile(
    r"(trials/[0-9]{4,9}|baselines/[A-Za-z0-9][A-Za-z0-9._-]{0,99})/model\.[a-z0-9.]{1,16}"
)


class SharedStudy(Protocol):
    """The part of a study that is no folder's own. Paths are relative to the study's folder.

    A folder is a cache of it: `fetch` makes it again wherever it is missing. What it raises is a
    StorageFailed: the database cannot be reached.
    """

    @property
    def shown(self) -> str:
        """Where it is kept, for the user; without a password."""

    @property
    def note(self) -> str | None:
        """What the user should know of it, without full stop; None where all is well."""

    def claim(self, root: Path) -> None:
        """Make a folder a cache of this study, if it is not one of another study.

        Raises:
            ConfigError: It holds a study of its own.
            StudyMismatch: It is the cache of another one, of the same name.
        """

    def alone(
        self, name: str, when_held: Callable[[], None] | None, timeout_s: float | None
    ) -> AbstractContextManager[None]:
        """Hold a lock of the study: as `locks.alone`, over all machines."""

    def close(self) -> None:
        """Free all locks and connections."""

    def fetch(self, root: Path) -> None:
        """Write into the folder what others have found since; the first time, everything."""

    def fetch_records(self, root: Path) -> None:
        """Write the records of trials that others have finished since."""

    def send(self, root: Path, *files: Path) -> None:
        """Keep files of the folder; the study's own small ones where none are named."""

    def send_weights(self, root: Path, folder: Path) -> None:
        """Keep a candidate's weights and exported file, where there is a place for them."""

    def send_statistics(self, file: Path) -> None:
        """Keep a file of calibration statistics, by its name, which is a hash."""

    def fetch_statistics(self, file: Path) -> None:
        """Bring a file of calibration statistics of that name, where it is kept and not here."""

    def fetch_weights(self, root: Path, folder: Path) -> None:
        """Bring a candidate's weights and exported file, where they are kept and not here."""

    def show(self, *files: Path) -> None:
        """Keep files for people who look at the study, where weights have a place."""

    def drop_weights(self, root: Path, folder: Path) -> None:
        """Forget a candidate's weights."""


def files_of_the_study(root: Path) -> list[Path]:
    """The small files that are the study's own; those that are there."""
    return [root / name for name in sorted(_OF_THE_STUDY) if (root / name).is_file()]


def place_of(root: Path, name: str) -> Path | None:
    """Where a file belongs whose name comes from a database; None for a name that is none of ours.

    No such name leads out of the folder.
    """
    return root / PurePosixPath(name) if is_shared(name) else None


def is_shared(name: str) -> bool:
    """Whether workers share a file of this name, relative to the study's folder."""
    return name in _OF_THE_STUDY or _OF_A_CANDIDATE.fullmatch(name) is not None


def is_weights(name: str) -> bool:
    """Whether a file of this name is a candidate's weights or exported file."""
    return _WEIGHTS.fullmatch(name) is not None
