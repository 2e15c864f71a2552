"""A search that stopped before its end: what is best so far is noted; it stays resumable."""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

from autoprune.domain.outcome import Outcome
from autoprune.domain.ranking import best_known, best_so_far
from autoprune.errors import StorageFailed, TargetUnreachable
from autoprune.search.context.workbench import Checked, Measured
from autoprune.search.evaluate.best_so_far import publish
from autoprune.search.select.finish import outcome_of
from autoprune.storage.study_folder import StudyFolder


def note_stop(bench: Checked, error: BaseException) -> None:
    """Write down why a search stopped."""
    paused = isinstance(error, (KeyboardInterrupt, TargetUnreachable, StorageFailed))
    status: Literal["interrupted", "failed"] = "interrupted" if paused else "failed"
    message = " ".join(str(error).split())
    dense = bench.folder.dense_record()
    if dense is None or dense.latency is None:
        Outcome(status=status, stopped_by=status, message=message).save(bench.folder.outcome)
        _send(bench.folder)
        return
    known = bench.folder.load_outcome()
    if known is not None and known.status == "finished":  # by then only a longer fine-tune is open
        return
    limit, records = bench.config.goal.against(dense), bench.records()
    with suppress(StorageFailed):
        publish(bench, best_known(records, limit))
    outcome = outcome_of(limit, records, best_so_far(records, limit), status)
    outcome = outcome.model_copy(update={"status": status, "message": message})
    outcome.save(bench.folder.outcome)
    _send(bench.folder)


def _send(folder: StudyFolder) -> None:
    with suppress(StorageFailed):  # it may be why the search stopped
        folder.send()


def ended_early(bench: Measured, reason: str) -> Outcome:
    """The outcome of a search whose time is over before it could begin; what is published stays."""
    records = bench.records()
    outcome = outcome_of(bench.limit, records, best_so_far(records, bench.limit), reason)
    outcome.save(bench.folder.outcome)
    return outcome
