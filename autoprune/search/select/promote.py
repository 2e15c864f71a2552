"""Rung SHORT: the most promising trials are measured on the target and fine-tuned."""

from __future__ import annotations

import time
from statistics import median

import filelock

from autoprune.domain.agreement import agreement
from autoprune.domain.front import pareto_front
from autoprune.domain.ranking import meets_goal, promising, ranked
from autoprune.domain.record import TrialRecord
from autoprune.errors import TooManyFailures
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.workbench import Workbench
from autoprune.search.evaluate.candidate import Candidate, evaluate_trained
from autoprune.search.evaluate.trials import MAX_FAILURES_IN_A_ROW
from autoprune.search.select.sentinel import Sentinel

PROMOTIONS = 6
POOR_AGREEMENT = 0.6  # below, the score without training misleads: twice as many are promoted
SAFE = 0.975  # of the budget, for the first plan to be trained: its interval must fit in, twice
FIRST_TRIES = 3  # begun whatever the time, so that a plan is trained even if the first is too slow
KEPT_CONTENDERS = 5  # weights kept besides the front's, in case confirmation falls back on them


class Promotions:
    """Promotes trials of one study, best first, until enough are trained or time is up.

    Args:
        bench: The prepared study.
        dense: The dense model's record.
        listener: Hears what happens.
        stop_at: `time.monotonic()` beyond which none is begun that would, going by the longest
            fine-tune so far, end later, once one is trained or FIRST_TRIES were begun; None for
            no such limit.
    """

    def __init__(
        self,
        bench: Workbench,
        dense: TrialRecord,
        listener: SearchListener,
        stop_at: float | None,
    ) -> None:
        self.bench, self.dense, self.listener, self.stop_at = bench, dense, listener, stop_at
        assert dense.latency is not None
        self.budget_ms = bench.config.goal.budget_ms(dense.latency.median_ms)
        self.warned = False
        self.begun = self.failures_in_a_row = 0
        self.held: set[str] = set()  # by another worker
        self.sentinel = Sentinel(listener)

    def run(self) -> None:
        """Promote until the limit, the time or the candidates are exhausted.

        Raises:
            TargetUnreachable, StudyMismatch, ConfigError, StorageFailed: The setup is at fault.
            TooManyFailures: MAX_FAILURES_IN_A_ROW fine-tunes failed one after another.
        """
        self.listener.deadline(None)  # the trials' no longer holds
        while (record := self._next()) is not None:
            self._promote(record)

    def _next(self) -> TrialRecord | None:
        records = self._records()
        trained = [
            r
            for r in records
            if r.kind == "trial" and r.map50_95 is not None and not (r.same_as or r.taken_from)
        ]
        limit = self._limit(records)
        if self.budget_ms is None and len(trained) >= limit:
            return None
        if self.stop_at is not None:
            longest = max((r.seconds for r in records if r.map50_95 is not None), default=0.0)
            left = self.stop_at - time.monotonic()
            self.listener.deadline(max(0.0, left))
            if left < longest and (trained or self.begun >= FIRST_TRIES):
                return None
        waiting = [r for r in self._in_order(records) if r.name not in self.held]
        if self.budget_ms is not None:
            waiting = self._not_behind(records, waiting, limit)
        return waiting[0] if waiting else None

    def _not_behind(
        self, records: list[TrialRecord], waiting: list[TrialRecord], limit: int
    ) -> list[TrialRecord]:
        """Those with fewer than `limit` better ones that were trained and fit the budget.

        A continued search with new, better plans so trains them, however many it trained before.
        """
        assert self.budget_ms is not None
        tried = [
            r.untrained_map50_95 or 0.0
            for r in records
            if r.kind == "trial"
            and r.same_as is None
            and r.map50_95 is not None
            and r.latency is not None
            and r.latency.high_ms <= self.budget_ms
        ]
        return [
            record
            for record in waiting
            if sum(each >= (record.untrained_map50_95 or 0.0) for each in tried) < limit
        ]

    def _in_order(self, records: list[TrialRecord]) -> list[TrialRecord]:
        """Scored trials worth promoting, best first, going by predictions corrected for bias."""
        goal = self.bench.config.goal
        bias = _bias(records)
        waiting = [
            record
            for record in promising(records, goal, self.dense)
            if record.state == "scored"
            and record.predicted_ms is not None
            and (self.budget_ms is None or record.predicted_ms * bias <= self.budget_ms)
        ]
        if self.budget_ms is not None:
            return self._one_safe_first(records, waiting, bias)
        return self._possibly_faster(records, waiting, bias)

    def _one_safe_first(
        self, records: list[TrialRecord], waiting: list[TrialRecord], bias: float
    ) -> list[TrialRecord]:
        """For a latency goal: until one that is surely within it is trained, such plans go first.

        There may be time for one alone, and its latency is measured once more at the end.
        """
        assert self.budget_ms is not None
        limit_ms = SAFE * self.budget_ms

        def safe(record: TrialRecord) -> bool:
            expected_ms = (record.predicted_ms or 0.0) * max(1.0, bias)
            return (record.latency.median_ms if record.latency else expected_ms) <= limit_ms

        if any(r.kind == "trial" and r.map50_95 is not None and safe(r) for r in records):
            return waiting
        return sorted(waiting, key=lambda r: not safe(r))

    def _possibly_faster(
        self, records: list[TrialRecord], waiting: list[TrialRecord], bias: float
    ) -> list[TrialRecord]:
        """For an accuracy goal: what may beat the fastest that meets it, the fastest first.

        Training leaves a share of what pruning lost. Until a trial meets the goal, those that meet
        it without training go first: there may be time for one alone.
        """
        dense_map = self.dense.map50_95 or 0.0
        shares = [
            (dense_map - r.map50_95) / (dense_map - r.untrained_map50_95)
            for r in records
            if r.map50_95 is not None
            and r.untrained_map50_95 is not None
            and r.kind != "dense"
            and r.untrained_map50_95 < dense_map
        ]
        share = min(1.0, max(0.0, median(shares))) if shares else 1.0
        most = self.bench.config.goal.value / 100
        met = [r for r in records if meets_goal(r, self.bench.config.goal, self.dense)]
        fastest_ms = min((r.latency.median_ms for r in met if r.latency), default=float("inf"))

        def lost(record: TrialRecord) -> float:
            return dense_map - (record.untrained_map50_95 or 0.0)

        hopeful = [
            r
            for r in waiting
            if share * lost(r) <= most and (r.predicted_ms or 0.0) * bias < fastest_ms
        ]
        none_yet = not any(r.kind == "trial" for r in met)
        hopeful.sort(key=lambda r: (none_yet and lost(r) > most, r.predicted_ms or 0.0))
        return hopeful or ([] if met else waiting)

    def _limit(self, records: list[TrialRecord]) -> int:
        """PROMOTIONS, or twice as many if after these the untrained score is seen to mislead."""
        agreed = agreement(records)
        overall = agreed.overall
        if overall is None or overall >= POOR_AGREEMENT or agreed.plans < PROMOTIONS:
            return PROMOTIONS
        if not self.warned:
            self.listener.say(
                f"The score without training ranks plans poorly here (Spearman {overall:.2f}):"
                " more plans are fine-tuned."
            )
            self.warned = True
        return 2 * PROMOTIONS

    def _promote(self, record: TrialRecord) -> None:
        bench, listener = self.bench, self.listener
        folder = bench.folder.folder_of(record)
        lock = filelock.FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            self.held.add(record.name)
            return
        try:
            record = TrialRecord.load(folder / "record.json")
            if record.state != "scored":  # another worker was faster
                return
            listener.candidate(record.name, None, None)
            candidate = Candidate.of(record)
            record = record.model_copy(update={"taken_from": None})  # the rest is made here
            self.begun += 1
            record = evaluate_trained(bench, candidate, self.budget_ms, listener, record)
            self.sentinel.look(record.latency)
        finally:
            lock.release()
        self._count_failures(record)
        records = self._records()
        best = ranked(records, bench.config.goal, self.dense)
        listener.result(record, best[0] if best else None)
        if bench.config.keep == "front":
            drop_weights(bench, records, best[:KEPT_CONTENDERS])

    def _count_failures(self, record: TrialRecord) -> None:
        self.failures_in_a_row = self.failures_in_a_row + 1 if record.failure else 0
        if record.failure and self.failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
            raise TooManyFailures(
                f"{MAX_FAILURES_IN_A_ROW} fine-tunes failed in a row; the last one:"
                f" {record.failure.reason}: {record.failure.detail}"
            )

    def _records(self) -> list[TrialRecord]:
        return [*self.bench.folder.baseline_records(), *self.bench.folder.trial_records()]


def _bias(records: list[TrialRecord]) -> float:
    """How many times longer plans took than predicted, in the middle."""
    return median(
        [
            record.latency.median_ms / record.predicted_ms
            for record in records
            if record.latency and record.predicted_ms and record.same_as is None
        ]
        or [1.0]
    )


def drop_weights(
    bench: Workbench, records: list[TrialRecord], contenders: list[TrialRecord]
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
