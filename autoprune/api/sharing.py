"""join_study and fetch_study: a study in a database, from any machine."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from autoprune.api.searching import SearchResult, search
from autoprune.evaluation.traces import no_traces
from autoprune.storage.study_folder import StudyFolder

if TYPE_CHECKING:
    from autoprune.latency.targets import LatencyTarget
    from autoprune.search.context.listener import SearchListener


@no_traces()
def join_study(
    storage: str,
    study: str,
    *,
    model: Path | str | None = None,
    data: Path | str | None = None,
    studies: Path | str = "studies",
    artifacts: str | None = None,
    timeout_s: float | None = None,
    workers_local: int | None = None,
    trust_checkpoint: bool = False,
    listener: SearchListener | None = None,
    target: LatencyTarget | None = None,
) -> SearchResult:
    """Work on a study that a search began elsewhere, until it is done: one more equal worker.

    Args:
        storage: URL of the PostgreSQL database.
        study: Its name there.
        model: The dense model, where it is not at the study's path; its content must be the same.
        data: The data YAML; likewise.
        studies: Folder in which this worker keeps its copy of the study.
        artifacts: Where trained weights go, as for `search`; by default where the study says.
        timeout_s: Seconds until this worker stops; by default the study's.
        workers_local: Processes of this worker; by default as idle cores allow.
        trust_checkpoint: Load a .pt that holds more than torch and Ultralytics classes.
        listener: Hears progress; silent by default.
        target: Where latency is measured, instead of what the study names.

    Returns:
        As `search`.

    Raises:
        ConfigError: No such study, or wrong input, before any work.
        StudyMismatch: Another model, other data, another version, or another kind of target.
        AutopruneError: As `search`.
    """
    from autoprune.search.context.joining import Own, joined

    own = Own(
        None if model is None else Path(model),
        None if data is None else Path(data),
        timeout_s,
        workers_local,
        trust_checkpoint,
    )
    with closing(_fetched(storage, study, Path(studies))) as folder:
        config = joined(folder, own)
    return search(
        config,
        studies=studies,
        storage=storage,
        artifacts=artifacts,
        listener=listener,
        target=target,
    )


@no_traces()
def fetch_study(storage: str, study: str, *, studies: Path | str = "studies") -> Path:
    """Write a study's files from its database, as far as others have sent them.

    Args:
        storage: URL of the PostgreSQL database.
        study: Its name there.
        studies: Folder in which the study gets a folder of its own.

    Returns:
        That folder, ready for `write_report`.

    Raises:
        ConfigError: No such study, or the folder holds another one.
        StorageFailed: The database cannot be reached.
    """
    with closing(_fetched(storage, study, Path(studies))) as folder:
        return folder.root


def _fetched(storage: str, study: str, studies: Path) -> StudyFolder:
    from autoprune.search.context.fetching import fetch_study
    from autoprune.search.evaluate.storage import Storage

    shared = Storage.checked(storage).known_study(study)
    try:
        folder = StudyFolder(studies / study, shared)
        fetch_study(folder)
    except BaseException:
        shared.close()
        raise
    return folder
