"""The trial loop: ask Optuna for a plan, score it untrained, tell Optuna; survive being killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import optuna
from optuna.trial import Trial, TrialState

from autoprune.domain.front import hypervolume
from autoprune.domain.plan import PruningPlan
from autoprune.domain.ranking import promising, standing
from autoprune.domain.record import Failure, TrialRecord
from autoprune.search.context.budget import Allowance
from autoprune.search.context.failures import FailureStreak
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.optuna_inside import running_trial
from autoprune.search.context.workbench import Informed
from autoprune.search.evaluate.attempts import MAX_ATTEMPTS, attempt
from autoprune.search.evaluate.candidate import Candidate, evaluate_untrained, failed_record
from autoprune.search.evaluate.reuse import count_taken
from autoprune.search.propose.distributions import suggested
from autoprune.search.propose.objectives import constraint_of, values_of
from autoprune.storage.locks import Held, alone

STAGNANT_TRIALS = 16  # this many without STAGNANT_GAIN more hypervolume end the trials
STAGNANT_GAIN = 0.002


class TrialLoop:
    """Runs trials of one study until it is told to stop.

    Args:
        bench: The study; a trial that draws a baseline's plan reuses it.
        study: The Optuna study.
        allowance: No trial is started that would, going by the longest one so far, end later; one
            is owed.
        listener: Hears what happens.
    """

    def __init__(
        self,
        bench: Informed,
        study: optuna.Study,
        allowance: Allowance,
        listener: SearchListener,
    ) -> None:
        self.bench, self.study = bench, study
        self.allowance, self.listener = allowance, listener
        self.baselines = bench.folder.baseline_records()
        self.streak = FailureStreak("trials")
        self.taken = count_taken(study)  # they do not count: this goal has its own plans
        limit = bench.trial_limit
        self.limit = None if limit is None else limit + self.taken

    def run(self) -> str:
        """Run trials; returns in words why it stopped.

        Raises:
            TooManyFailures: Trials of this run failed one after another.
        """
        while True:
            for number in self._unfinished():
                self._adopt(number)
            if (reason := self._stop_reason()) is not None:
                if not self.allowance.budget.limited:
                    self.listener.deadline(None)  # the estimate was of the trials alone
                return reason
            self._evaluate_if_ours(self.study.ask())

    def _unfinished(self) -> list[int]:
        """Trials that are running somewhere or were left so by a worker that died."""
        running = self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
        return [trial.number for trial in running]

    def _adopt(self, number: int) -> None:
        """Finish a trial, with its own plan, that another worker began and will not finish."""
        self._evaluate_if_ours(running_trial(self.study, number))

    def _evaluate_if_ours(self, trial: Trial) -> None:
        """Evaluate a running trial unless a living worker holds it or has just finished it."""
        with self._worker_lock(trial.number) as mine:
            frozen = self.study.get_trials(deepcopy=False)[trial.number]
            if mine and frozen.state == TrialState.RUNNING:
                self._evaluate(trial)

    @contextmanager
    def _worker_lock(self, number: int) -> Iterator[bool]:
        """Hold a trial's lock; yields False when a living worker holds it.

        The operating system releases the lock when its holder dies, however it dies.
        """
        folder = self.bench.folder.trial(number)
        try:
            with alone(folder / ".lock", timeout_s=0):
                yield True
        except Held:
            yield False

    def _stop_reason(self) -> str | None:
        finished = self._records()
        if self.limit is not None:
            if len(finished) + len(self._unfinished()) >= self.limit:
                return f"{self.limit - self.taken} trials done"
            self._estimate_deadline(finished, self.limit)
        scored = any(record.taken_from is None for record in finished)
        if not self.allowance.allows(self._longest_trial(finished), owed=not scored):
            return "no time left for another trial (--timeout)" if scored else self._too_short()
        if self.bench.config.trials is None and self._stagnant(finished):
            return f"{STAGNANT_TRIALS} trials in a row hardly widened the front"
        return None

    def _too_short(self) -> str:
        budget = self.allowance.budget
        return (
            f"--timeout {self.bench.config.timeout_s:g} is too short for a first trial: what comes"
            f" before took {budget.now() - budget.began:.0f} s; the same command with a longer one"
            " continues"
        )

    def _stagnant(self, finished: list[TrialRecord]) -> bool:
        """Whether the last trials added no more than STAGNANT_GAIN to the hypervolume.

        Of predicted latency (as a share of dense) and untrained mAP50-95, both relative to the
        dense model; the reference point is the dense latency at mAP 0.
        """
        if len(finished) < max(2 * STAGNANT_TRIALS, self.taken + STAGNANT_TRIALS):
            return False
        before, now = (self._hypervolume(part) for part in (finished[:-STAGNANT_TRIALS], finished))
        return now - before <= STAGNANT_GAIN * now

    def _hypervolume(self, records: list[TrialRecord]) -> float:
        dense_ms, dense_map = self.bench.limit.dense_ms, self.bench.limit.dense_map or 1.0
        points = [
            (record.predicted_ms / dense_ms, record.untrained_map50_95 / dense_map)
            for record in records
            if record.predicted_ms is not None and record.untrained_map50_95 is not None
        ]
        return hypervolume(points, (1.0, 0.0))

    def _estimate_deadline(self, finished: list[TrialRecord], limit: int) -> None:
        spent = [
            record.seconds
            for record in finished
            if record.same_as is None and record.taken_from is None
        ]
        if spent and not self.allowance.budget.limited:
            self.listener.deadline((limit - len(finished)) * sum(spent) / len(spent))

    def _longest_trial(self, finished: list[TrialRecord]) -> float:
        """Seconds a trial may take: the longest so far."""
        return max((r.seconds for r in finished if r.state == "scored"), default=0.0)

    def _evaluate(self, trial: Trial) -> None:
        bench, listener = self.bench, self.listener
        listener.candidate(f"trial {trial.number}", trial.number + 1, self.limit)
        plan = self._draw(trial)
        candidate = Candidate("trial", f"trial {trial.number}", trial.number, plan)
        path = bench.folder.trial(trial.number) / "record.json"
        if path.exists():  # measured, but its worker died before Optuna was told
            record = TrialRecord.load(path)
        elif (known := self._known(plan)) is not None:
            record = _copy_of(known, trial.number)
            plan.save(path.with_name("plan.yaml"))
            bench.folder.save_record(record)
        else:
            with attempt(path.parent) as allowed:
                if allowed:
                    record = evaluate_untrained(bench, candidate, listener)
                else:
                    detail = f"its worker died {MAX_ATTEMPTS} times while working on it"
                    failure = Failure(reason="exception", detail=detail)
                    record = failed_record(bench, candidate, failure)
        self._tell(trial, record)
        best = standing(promising(self._records(), bench.limit), bench.limit)
        listener.result(record, best)
        self.streak.note(record)

    def _draw(self, trial: Trial) -> PruningPlan:
        return self.bench.annotated(self.bench.space.draw(partial(suggested, trial)))

    def _known(self, plan: PruningPlan) -> TrialRecord | None:
        """An earlier result of exactly the same channels."""
        signature = self.bench.pruner.signature(plan)
        for record in (*self.baselines, *self._records()):
            fresh = record.same_as is None and record.state != "failed"
            if fresh and self.bench.pruner.signature(record.pruning_plan()) == signature:
                return record
        return None

    def _records(self) -> list[TrialRecord]:
        return self.bench.folder.trial_records()

    def _tell(self, trial: Trial, record: TrialRecord) -> None:
        if record.failure is not None:
            trial.set_user_attr("failure", record.failure.reason)
            self.study.tell(trial, state=TrialState.FAIL)
            return
        name, value = constraint_of(record, self.bench.limit)
        trial.set_constraint(name, value)
        self.study.tell(trial, values_of(record))


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
