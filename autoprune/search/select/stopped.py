"""A search that stopped before its end: what is best so far is noted; it stays resumable."""

from __future__ import annotations

from typing import Literal

from autoprune.domain.goal import Evidence, Limit
from autoprune.domain.outcome import Outcome
from autoprune.domain.ranking import ranked
from autoprune.domain.record import TrialRecord
from autoprune.errors import StorageFailed, TargetUnreachable
from autoprune.search.context.workbench import Checked
from autoprune.search.select.finish import outcome_of


def note_stop(bench: Checked, error: BaseException) -> None:
    """Write down why a search stopped."""
    paused = isinstance(error, (KeyboardInterrupt, TargetUnreachable, StorageFailed))
    status: Literal["interrupted", "failed"] = "interrupted" if paused else "failed"
    message = " ".join(str(error).split())
    dense = bench.folder.dense_record()
    if dense is None or dense.latency is None:
        Outcome(status=status, stopped_by=status, message=message).save(bench.folder.outcome)
        return
    known = bench.folder.load_outcome()
    if known is not None and known.status == "finished":  # by then only a longer fine-tune is open
        return
    limit, records = bench.config.goal.against(dense), bench.records()
    outcome = outcome_of(limit, records, best_so_far(records, limit), status)
    outcome = outcome.model_copy(update={"status": status, "message": message})
    outcome.save(bench.folder.outcome)


def best_so_far(records: list[TrialRecord], limit: Limit) -> TrialRecord | None:
    """The best that is confirmed; else the best that one measurement finds within the goal."""
    for evidence in (Evidence.CONFIRMED, Evidence.MEASURED):
        if best := ranked(records, limit, evidence):
            return best[0]
    return None
