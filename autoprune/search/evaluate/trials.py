"""The trial loop: ask Optuna for plans, score them untrained, tell Optuna; survive being killed."""

from __future__ import annotations

import time
import warnings
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial, TrialState

from autoprune.domain.config import USUAL_WORKERS
from autoprune.domain.front import untrained_volume
from autoprune.domain.plan import PruningPlan
from autoprune.domain.record import TrialRecord
from autoprune.errors import ConfigError
from autoprune.search.context.budget import Allowance
from autoprune.search.context.failures import FailureStreak
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.optuna_inside import at_once
from autoprune.search.context.workbench import Informed
from autoprune.search.evaluate.best_so_far import BestSoFar
from autoprune.search.evaluate.candidate import Candidate, evaluate_untrained
from autoprune.search.evaluate.known_plans import KnownPlans
from autoprune.search.evaluate.reuse import count_taken
from autoprune.search.evaluate.trial_queue import TrialQueue
from autoprune.search.evaluate.workers import Workers
from autoprune.search.propose.distributions import suggested
from autoprune.search.propose.objectives import constraint_of, values_of
from autoprune.storage.locks import Held

STAGNANT_TRIALS = 16  # this many without STAGNANT_GAIN more hypervolume end the trials
STAGNANT_GAIN = 0.002
ADOPTS_EVERY_S = 5.0  # how often a worker looks for trials of others who are gone
REREADS_EVERY_S = 5.0  # how often it looks again at records that it knows


@dataclass
class _Open:
    """A trial that Optuna has not been told the result of."""

    trial: Trial
    plan: PruningPlan
    lock: ExitStack
    result: Future[TrialRecord]
    attempts: int = 0
    shown: bool = False


class TrialLoop:
    """Runs trials of one study until it is told to stop.

    A plan is drawn when exactly the results of the trials `ahead` and more before it are told,
    whichever is done first. That is USUAL_WORKERS, so that the number of workers changes no plan;
    more workers than that go further ahead.

    Args:
        bench: The study; a trial that draws a plan that is known reuses its result.
        study: The Optuna study.
        allowance: No trial is started that would, going by the longest one so far, end later; one
            is owed.
        listener: Hears what happens.
        workers: Where plans are scored.
    """

    def __init__(
        self,
        bench: Informed,
        study: optuna.Study,
        allowance: Allowance,
        listener: SearchListener,
        workers: Workers,
    ) -> None:
        self.bench, self.study = bench, study
        self.allowance, self.listener, self.workers = allowance, listener, workers
        self.baselines = bench.folder.baseline_records()
        self.streak = FailureStreak("trials")
        self.best = BestSoFar(bench)
        self.taken = count_taken(study)  # they do not count: this goal has its own plans
        limit = bench.trial_limit
        self.limit = None if limit is None else limit + self.taken
        self.queue = TrialQueue(study, bench.folder, self.limit)
        self._open: dict[int, _Open] = {}
        self._adopts_at = self._rereads_at = 0.0
        self._known = KnownPlans(bench.pruner)
        self._listed: list[TrialRecord] = []  # what the last look at the records found

    @property
    def ahead(self) -> int:
        """Trials that may be begun and not yet told."""
        return max(USUAL_WORKERS, self.workers.count)

    def run(self) -> str:
        """Run trials; returns in words why it stopped.

        Raises:
            TooManyFailures: Trials of this run failed one after another.
        """
        try:
            self._repeat_lost()
            while (reason := self._stop_reason()) is None:
                if (trial := self.queue.next()) is not None:
                    self._begin(trial.number, trial)
            while self._open:
                self._finish_oldest()
        finally:
            for each in self._open.values():
                self.queue.note_attempts(each.trial, each.attempts)  # as before: no death
                each.lock.close()
        if not self.allowance.budget.limited:
            self.listener.deadline(None)  # the estimate was of the trials alone
        return reason

    def _repeat_lost(self) -> None:
        """Score again the plans of trials that Optuna knows as done and that have no record."""
        done = self.study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        self.bench.folder.fetch()
        known = {record.number for record in self._records()}  # each was there before it was told
        for number in [trial.number for trial in done if trial.number not in known]:
            if not self.allowance.allows(0.0):
                return
            folder = self.bench.folder.trial(number)
            with suppress(Held), self.bench.folder.hold(folder):
                if not (folder / "record.json").exists():
                    self._score_again(number, folder / "plan.yaml")

    def _score_again(self, number: int, path: Path) -> None:
        try:
            plan = PruningPlan.load(path)
        except ConfigError:
            self.listener.say(f"trial {number}: its record and its plan are gone; left out")
            return
        self.listener.say(f"trial {number}: its record is gone; its plan is scored again")
        candidate = Candidate("trial", f"trial {number}", number, plan)
        again = self.workers.begin(evaluate_untrained, candidate)
        while not again.done():
            self.workers.wait([again])
        self.bench.folder.send_result(again.result())

    def _adopt_unfinished(self) -> None:
        """Go on with trials, and their own plans, that a worker began who is gone."""
        now, all_begun = time.monotonic(), self.limit is not None and self.queue.begun >= self.limit
        if now < self._adopts_at and not all_begun:  # one question for each worker that is alive
            return
        self._adopts_at = now + ADOPTS_EVERY_S
        for number in self.queue.unfinished(self._open):
            self._make_room()
            self._begin(number)

    def _begin(self, number: int, own: Trial | None = None) -> None:
        """Evaluate a running trial unless a living worker holds it or has just finished it.

        Args:
            number: The trial's.
            own: It, where this worker has just made it.
        """
        folder = self.bench.folder.trial(number)
        lock = ExitStack()
        try:
            # the system releases it when its holder dies, however it dies
            lock.enter_context(self.bench.folder.hold(folder))
        except Held:
            return
        try:
            trial = own or self.queue.running(number)
            if self.queue.is_running(trial):
                with at_once(self.study, trial):
                    plan = self._draw(trial)
                    attempts = self.queue.count_attempt(trial)
                self._wait_for_the_same(plan)
                self._records()  # others may have scored it since the last look
                self.listener.candidate(f"trial {trial.number}", trial.number + 1, self.limit)
                result = self._result(trial, plan)
                opened = _Open(trial, plan, lock.pop_all(), result, attempts)
                self._open[trial.number] = opened
        except UpdateFinishedTrialError:
            return  # told just now, by a worker that had taken its lock for lost
        finally:
            lock.close()

    def _result(self, trial: Trial, plan: PruningPlan) -> Future[TrialRecord]:
        bench, number = self.bench, trial.number
        path = bench.folder.trial(number) / "record.json"
        if path.exists():  # measured, but its search died before Optuna was told
            return _done(TrialRecord.load(path))
        earlier = self._known.earlier(plan, (*self.baselines, *self._listed))
        if earlier is not None:
            record = _copy_of(earlier, number)
            plan.save(path.with_name("plan.yaml"))
            bench.folder.save_record(record)
            return _done(record)
        candidate = Candidate("trial", f"trial {number}", number, plan)
        return self.workers.begin(evaluate_untrained, candidate)

    def _wait_for_the_same(self, plan: PruningPlan) -> None:
        """One plan is not scored twice side by side."""
        signature = self.bench.pruner.signature(plan)
        same = [
            each.result
            for each in self._open.values()
            if self.bench.pruner.signature(each.plan) == signature
        ]
        while not all(result.done() for result in same):
            self.workers.wait([result for result in same if not result.done()])

    def _make_room(self) -> None:
        """Wait until a worker is free and so few results are untold that a plan may be drawn."""
        while len(self._open) >= self.ahead:
            self._finish_oldest()
        while len(busy := self._busy()) >= self.workers.count:
            self.workers.wait(busy)

    def _busy(self) -> list[Future[TrialRecord]]:
        return [each.result for each in self._open.values() if not each.result.done()]

    def _finish_oldest(self) -> None:
        """Wait for the result of the oldest trial, and tell it."""
        number = min(self._open)
        while not self._open[number].result.done():
            self.workers.wait([self._open[number].result])
        self._show_done()
        done = self._open[number]
        record = done.result.result()
        self.bench.folder.send_result(record)  # a process of ours knows its folder alone
        self._tell(done.trial, record)
        del self._open[number]
        done.lock.close()

    def _show_done(self) -> None:
        """Take note of results, in the order of the trials."""
        in_order = [each for _, each in sorted(self._open.items())]
        done = takewhile(lambda each: each.result.done(), in_order)
        if not (news := [each for each in done if not each.shown]):
            return
        made = {each.trial.number: each.result.result() for each in news}
        known = {record.number or 0: record for record in self._listed}
        self._listed = [record for _, record in sorted({**known, **made}.items())]
        for each in news:
            each.shown = True
            record = made[each.trial.number]
            self.listener.result(record, self.best.update((*self.baselines, *self._listed)))
            self.streak.note(record)

    def _stop_reason(self) -> str | None:
        self.queue.look()
        self._adopt_unfinished()
        self._make_room()
        self._show_done()
        finished = self._listed
        started = self.queue.begun
        if self.limit is not None:
            if started >= self.limit:
                return f"{self.limit - self.taken} trials done"
            self._estimate_deadline(self.limit - started, finished)
        scored = any(record.taken_from is None for record in finished)
        if not self.allowance.allows(self._longest_trial(finished), owed=not scored):
            return "no time left for another trial (--timeout)" if scored else self._too_short()
        told = [record for record in finished if record.number not in self._open]
        if self.bench.config.trials is None and self._stagnant(told):
            return f"{STAGNANT_TRIALS} trials in a row hardly widened the front"
        return None

    def _too_short(self) -> str:
        budget = self.allowance.budget
        return (
            f"--timeout {self.bench.config.timeout_s:g} is too short for a first trial: what comes"
            f" before took {budget.now() - budget.began:.0f} s; the same command with a longer one"
            " continues"
        )

    def _stagnant(self, told: list[TrialRecord]) -> bool:
        """Whether the last trials added no more than STAGNANT_GAIN to the hypervolume."""
        if len(told) < max(2 * STAGNANT_TRIALS, self.taken + STAGNANT_TRIALS):
            return False
        dense = self.bench.limit.dense_ms, self.bench.limit.dense_map or 1.0
        now = untrained_volume(told, *dense)
        return now - untrained_volume(told[:-STAGNANT_TRIALS], *dense) <= STAGNANT_GAIN * now

    def _estimate_deadline(self, left: int, finished: list[TrialRecord]) -> None:
        spent = [
            record.seconds
            for record in finished
            if record.same_as is None and record.taken_from is None
        ]
        if spent and not self.allowance.budget.limited:
            self.listener.deadline(left * sum(spent) / len(spent) / self.workers.count)

    def _longest_trial(self, finished: list[TrialRecord]) -> float:
        """Seconds a trial may take: the longest so far."""
        return max((r.seconds for r in finished if r.state == "scored"), default=0.0)

    def _draw(self, trial: Trial) -> PruningPlan:
        return self.bench.annotated(self.bench.space.draw(partial(suggested, trial)))

    def _records(self) -> list[TrialRecord]:
        """Of all workers; one that is known may be as it was seconds ago."""
        self.bench.folder.fetch_records()
        now = time.monotonic()
        known = self._listed if now < self._rereads_at else []
        if not known:
            self._rereads_at = now + REREADS_EVERY_S
        self._listed = self.bench.folder.trial_records(known)
        return self._listed

    def _tell(self, trial: Trial, record: TrialRecord) -> None:
        """Tell a result, unless a worker that took this one for lost was faster."""
        with (
            suppress(UpdateFinishedTrialError),
            warnings.catch_warnings(),
            at_once(self.study, trial),
        ):
            warnings.simplefilter("ignore", UserWarning)  # a dead worker had set the constraint
            if record.failure is not None:
                trial.set_user_attr("failure", record.failure.reason)
                self.study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
                return
            trial.set_constraint(*constraint_of(record, self.bench.limit))
            self.study.tell(trial, values_of(record), skip_if_finished=True)


def _done(record: TrialRecord) -> Future[TrialRecord]:
    future: Future[TrialRecord] = Future()
    future.set_result(record)
    return future


def _copy_of(known: TrialRecord, number: int) -> TrialRecord:
    """The record of a plan drawn again: the earlier numbers, clearly marked."""
    return known.model_copy(
        update={
            "kind": "trial",
            "name": f"trial {number}",
            "number": number,
            "same_as": known.name,
            "taken_from": None,
            "confirmed": None,
            "final": None,
            "seconds": 0.0,
        }
    )
