"""Rung SHORT: the most promising trials are measured on the target and fine-tuned."""

from __future__ import annotations

from collections.abc import Sequence

from autoprune.domain.front import pareto_front
from autoprune.domain.ranking import ranked, standing
from autoprune.domain.record import TrialRecord
from autoprune.search.context.budget import Allowance
from autoprune.search.context.failures import FailureStreak
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.workbench import Checked, Informed
from autoprune.search.evaluate.candidate import Candidate, evaluate_trained
from autoprune.search.select.order import misleading, order
from autoprune.search.select.sentinel import Sentinel
from autoprune.storage.locks import Held, alone

FIRST_TRIES = 3  # owed, so that a plan is trained even if the first is too slow
KEPT_CONTENDERS = 5  # weights kept besides the front's, in case confirmation falls back on them


class Promotions:
    """Promotes trials of one study, best first, until enough are trained or time is up.

    Args:
        bench: The study.
        allowance: None is begun that would, going by the longest fine-tune so far, end later; the
            first is owed, for FIRST_TRIES of them.
        listener: Hears what happens.
    """

    def __init__(self, bench: Informed, allowance: Allowance, listener: SearchListener) -> None:
        self.bench, self.allowance, self.listener = bench, allowance, listener
        self.warned = False
        self.begun = 0
        self.held: set[str] = set()  # by another worker
        self.streak = FailureStreak("fine-tunes")
        self.sentinel = Sentinel(listener)

    def run(self) -> None:
        """Promote until the limit, the time or the candidates are exhausted.

        Raises:
            TargetUnreachable, StudyMismatch, ConfigError, StorageFailed: The setup is at fault.
            TooManyFailures: Fine-tunes failed one after another.
        """
        while (record := self._next()) is not None:
            self._promote(record)

    def _next(self) -> TrialRecord | None:
        records = self.bench.records()
        self._warn_if_misleading(records)
        trained = [r for r in records if r.kind == "trial" and r.map50_95 is not None]
        ours = any(not (r.same_as or r.taken_from) for r in trained)
        longest_s = max((r.seconds for r in records if r.map50_95 is not None), default=0.0)
        if not self.allowance.allows(longest_s, owed=not ours and self.begun < FIRST_TRIES):
            return None
        waiting = (r for r in order(records, self.bench.limit) if r.name not in self.held)
        return next(waiting, None)

    def _warn_if_misleading(self, records: list[TrialRecord]) -> None:
        if self.warned or (overall := misleading(records)) is None:
            return
        self.warned = True
        self.listener.say(
            f"The score without training ranks plans poorly here (Spearman {overall:.2f}):"
            " more plans are fine-tuned."
        )

    def _promote(self, record: TrialRecord) -> None:
        bench, listener = self.bench, self.listener
        folder = bench.folder.folder_of(record)
        try:
            with alone(folder / ".lock", timeout_s=0):
                record = bench.folder.reread(record)
                if record.state != "scored":  # another worker was faster
                    return
                listener.candidate(record.name, None, None)
                candidate = Candidate.of(record)
                record = record.model_copy(update={"taken_from": None})  # the rest is made here
                self.begun += 1
                record = evaluate_trained(bench, candidate, listener, record)
                self.sentinel.look(record.latency)
        except Held:
            self.held.add(record.name)
            return
        records = bench.records()
        best = ranked(records, bench.limit)
        listener.result(record, standing(best, bench.limit))
        if bench.config.keep == "front":
            drop_weights(bench, records, best[:KEPT_CONTENDERS])
        self.streak.note(record)


def drop_weights(
    bench: Checked, records: Sequence[TrialRecord], contenders: list[TrialRecord]
) -> None:
    """Delete weights and exported files of trials neither on the front nor among `contenders`.

    Baselines keep theirs: they are scored on new images beside the front. A trial that was not
    trained when `records` were read is left alone: another worker may just have saved its weights.
    """
    kept = {record.name for record in (*pareto_front(records), *contenders)}
    for record in records:
        if record.kind == "trial" and record.state == "complete" and record.name not in kept:
            for name in ("model.pt", "model.onnx", "model.pt2"):
                (bench.folder.folder_of(record) / name).unlink(missing_ok=True)
