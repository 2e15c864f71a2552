"""The fake bench of a study that is kept in a database, in as many folders as wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autoprune.search.context.database_study import DatabaseStudy
from autoprune.search.evaluate.storage import Storage
from autoprune.storage.study_folder import StudyFolder
from tests.search.fakes import fake_bench

_OPEN: list[DatabaseStudy] = []


def shared_bench(root: Path, url: str, trials: int | None = 10, **more: Any) -> Any:
    """One worker's bench; `root` is its own folder."""
    bench = fake_bench(root, trials, **more)
    bench.folder = shared_folder(root, url)
    bench.folder.fetch()
    bench.records = lambda: [*bench.folder.baseline_records(), *bench.folder.trial_records()]
    return bench


def shared_folder(root: Path, url: str, artifacts: str | None = None) -> StudyFolder:
    """One worker's folder of the study "fake"."""
    study = Storage.checked(url, artifacts).study("fake")
    _OPEN.append(study)
    return StudyFolder(root, study)


def close_all() -> None:
    """Every connection that a test opened."""
    while _OPEN:
        _OPEN.pop().close()


def of_database(folder: StudyFolder) -> DatabaseStudy:
    """What the folder's study has in the database."""
    assert isinstance(folder.shared, DatabaseStudy)
    return folder.shared
