"""Rung SHORT: the most promising trials, and uniform plans beside them, are measured and trained.

In rounds: while nothing else runs, plans are measured until there is one for each worker; then they
are fine-tuned side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass

from autoprune.domain.front import pareto_front
from autoprune.domain.ranking import ranked
from autoprune.domain.record import TrialRecord
from autoprune.search.context.budget import Allowance
from autoprune.search.context.failures import FailureStreak
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.workbench import Checked, Informed
from autoprune.search.evaluate.baselines import next_baseline
from autoprune.search.evaluate.best_so_far import BestSoFar
from autoprune.search.evaluate.candidate import Candidate, measure_candidate, train_candidate
from autoprune.search.evaluate.reuse import take_baseline
from autoprune.search.evaluate.workers import Workers
from autoprune.search.select.costs import Costs
from autoprune.search.select.order import misleading, order
from autoprune.search.select.sentinel import Sentinel
from autoprune.storage.locks import Held

FIRST_TRIES = 3  # measurements owed, so that a plan is trained even if the first is too slow
WANTED = 2  # fine-tuned trials, if they can be had before what always comes
TRIALS_BEFORE = (1, 3)  # fine-tuned trials before the first and before the second baseline
KEPT_CONTENDERS = 5  # weights kept besides the front's, in case confirmation falls back on them


@dataclass(frozen=True)
class _Ready:
    """A measured candidate that is worth a fine-tune; its lock is held."""

    candidate: Candidate
    record: TrialRecord
    lock: ExitStack


class Promotions:
    """Measures and trains plans of one study, best first, until enough are trained or time is up.

    Args:
        bench: The study.
        allowance: None is begun that would, by what they cost here, end later; a first fine-tune is
            owed, with FIRST_TRIES measurements for it.
        listener: Hears what happens.
        workers: Where plans are trained.
    """

    def __init__(
        self, bench: Informed, allowance: Allowance, listener: SearchListener, workers: Workers
    ) -> None:
        self.bench, self.allowance, self.listener = bench, allowance, listener
        self.workers = workers
        self.costs = Costs(bench)
        self.best = BestSoFar(bench)
        self.warned = False
        self.looks = 0
        self.held: set[str] = set()  # by another search
        self.streak = FailureStreak("fine-tunes")
        self.sentinel = Sentinel(listener)

    def run(self) -> None:
        """Measure and train until the limit, the time or the candidates are exhausted.

        Raises:
            TargetUnreachable, StudyMismatch, ConfigError, StorageFailed: The setup is at fault.
            TooManyFailures: Candidates failed one after another.
        """
        while self._round():
            pass

    def _round(self) -> bool:
        """Measure plans and train those within the limit; False where nothing could be trained."""
        self.bench.folder.fetch()
        with ExitStack() as locks:
            ready: list[_Ready] = []
            while len(ready) < self.workers.count and self._has_time(ready):
                named = {each.record.name for each in ready}
                chosen = self._next(ready, named)
                if chosen is None:
                    break
                candidate, known, however_slow = chosen
                found = self._measured(candidate, known, however_slow=however_slow)
                if found is not None:
                    locks.push(found.lock)
                    ready.append(found)
            if ready:
                self._train(ready)
            return bool(ready)

    def _has_time(self, ready: Sequence[_Ready]) -> bool:
        ours = sum(not (r.same_as or r.taken_from) for r in self._trained())
        first = not ours and not ready
        owed = first and self.looks < FIRST_TRIES
        cost_s = self.costs.look_s + self.costs.training_s
        if self.allowance.allows(cost_s, owed=owed):
            return True
        if first:  # it is cut short rather than left out
            cost_s = min(cost_s, self.costs.look_s + self.costs.shortest_training_s)
        # what trains beside another one costs a look; a second plan goes before what comes later
        wanted = bool(ready) or ours < WANTED
        wanted &= self.looks < WANTED * FIRST_TRIES
        return wanted and self.allowance.budget.now() + cost_s < self.allowance.latest

    def _is_last_look(self) -> bool:
        """Whether a plan that is looked at now, and is too slow, leaves no time for another one."""
        looks_s = 2 * self.costs.look_s
        trained_s = min(self.costs.training_s, self.costs.shortest_training_s)
        if self.allowance.budget.now() + looks_s + trained_s >= self.allowance.latest:
            return True
        enough = self.looks + 2 > WANTED * FIRST_TRIES
        return enough and not self.allowance.allows(looks_s + self.costs.training_s)

    def _trained(self) -> list[TrialRecord]:
        records = self.bench.folder.trial_records()
        return [record for record in records if record.map50_95 is not None]

    def _next(
        self, ready: Sequence[_Ready], named: set[str]
    ) -> tuple[Candidate, TrialRecord | None, bool] | None:
        """What to look at next: candidate, what is known of it, whether it may be too slow."""
        records = self.bench.records()
        self._warn_if_misleading(records)
        skipped = named | self.held
        error = self.bench.predictor.error.mape
        trials = len(self._trained()) + sum(each.record.kind == "trial" for each in ready)
        last = not trials and self._is_last_look()
        ordered = order(records, self.bench.limit, error, last=last)
        waiting = [record for record in ordered if record.name not in skipped]
        baseline = self._baseline(skipped, trials if waiting else max(TRIALS_BEFORE))
        if baseline is not None:
            return baseline
        return (Candidate.of(waiting[0]), waiting[0], False) if waiting else None

    def _baseline(
        self, skipped: set[str], trials: int
    ) -> tuple[Candidate, TrialRecord | None, bool] | None:
        """The baseline that it is time for after so many fine-tuned trials."""
        done = self.bench.folder.baseline_records()
        for record in done:
            if record.state == "scored" and record.latency and record.name not in skipped:
                return Candidate.of(record), record, True  # measured before an interruption
        begun = sum(record.state != "over_budget" for record in done)
        if begun >= len(TRIALS_BEFORE) or trials < TRIALS_BEFORE[begun]:
            return None
        wanted = next_baseline(self.bench, done)
        if wanted is None or wanted.candidate.name in skipped:
            return None
        taken = take_baseline(self.bench, wanted.candidate)
        if taken is not None:
            self.listener.result(taken, self.best.update())
            return self._baseline(skipped, trials)
        return wanted.candidate, None, wanted.however_slow

    def _warn_if_misleading(self, records: list[TrialRecord]) -> None:
        if self.warned or (overall := misleading(records)) is None:
            return
        self.warned = True
        self.listener.say(
            f"The score without training ranks plans poorly here (Spearman {overall:.2f}):"
            " more plans are fine-tuned."
        )

    def _measured(
        self, candidate: Candidate, known: TrialRecord | None, *, however_slow: bool
    ) -> _Ready | None:
        """Measure a candidate, unless it was; None where it is not to be trained."""
        folder, lock = candidate.folder(self.bench.folder), ExitStack()
        try:
            lock.enter_context(self.bench.folder.hold(folder))
        except Held:
            self.held.add(candidate.name)
            return None
        with lock:
            self.bench.folder.fetch()
            if (folder / "record.json").exists():
                record = TrialRecord.load(folder / "record.json")
                if record.state != "scored":  # another search was faster
                    return None
                known = record.model_copy(update={"taken_from": None})  # the rest is made here
            if known is not None and known.latency is not None:
                return _Ready(candidate, known, lock.pop_all())
            self.looks += 1
            self.listener.candidate(candidate.name, None, None)
            with self.costs.looking():
                record = measure_candidate(
                    self.bench, candidate, self.listener, known, however_slow=however_slow
                )
            self.sentinel.look(record.latency)
            self.listener.result(record, self.best.update())
            self.streak.note(record)
            if record.state != "scored":
                return None
            return _Ready(candidate, record, lock.pop_all())

    def _train(self, ready: Sequence[_Ready]) -> None:
        """Fine-tune candidates side by side, and note what came of each as soon as it is done."""
        # beyond its stage's own time, as long as what always comes still fits in
        most_s = self.costs.most_s(self.allowance, self.allowance.latest)
        under_way: list[Future[TrialRecord]] = []
        for each in ready:
            self.listener.candidate(each.candidate.name, None, None)
            arguments = (train_candidate, each.candidate, each.record, most_s)
            under_way.append(self.workers.begin(*arguments))
        while under_way:
            self.workers.wait(under_way)
            for future in [each for each in under_way if each.done()]:
                under_way.remove(future)
                self._note(future.result())

    def _note(self, record: TrialRecord) -> None:
        self.bench.folder.send_result(record)  # a process of ours knows its folder alone
        self.bench.folder.fetch()
        records = self.bench.records()
        self.listener.result(record, self.best.update())
        if self.bench.config.keep == "front":
            best = ranked(records, self.bench.limit)
            drop_weights(self.bench, records, best[:KEPT_CONTENDERS])
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
            bench.folder.drop_weights(record)
