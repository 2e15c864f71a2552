"""The one path of a candidate: prune, size, score untrained, measure, fine-tune, validate."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from torch import nn

from autoprune.domain.goal import Evidence
from autoprune.domain.plan import PruningPlan
from autoprune.domain.record import (
    SHORT,
    UNTRAINED,
    Failure,
    LatencyResult,
    RungScore,
    State,
    TrialRecord,
)
from autoprune.errors import TrialFailed
from autoprune.evaluation.quiet import quiet
from autoprune.evaluation.recalibrate import recalibrate_batchnorm
from autoprune.evaluation.renormalize import renormalize_batchnorm
from autoprune.evaluation.validate import validate
from autoprune.latency.processes import Processes
from autoprune.pruning.size import model_size
from autoprune.search.context.failures import candidate_failure
from autoprune.search.context.int8 import score_quantized
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.workbench import Informed
from autoprune.search.evaluate.attempts import attempt
from autoprune.search.evaluate.training import train_and_score
from autoprune.storage.leftovers import clear_leftovers
from autoprune.storage.study_folder import StudyFolder

CLOSER_LOOK = 2  # more processes, before a plan near the limit is trained
PROCESSES_DIFFER = 0.01  # in the time they find: a plan with less room than that is near the limit
CLEARLY_OVER = 2.0  # times the predictor's mean error: beyond that a plan is not even scored


@dataclass(frozen=True)
class Candidate:
    """A plan about to be evaluated, and what its record shall be called."""

    kind: Literal["baseline", "trial"]
    name: str
    number: int | None
    plan: PruningPlan

    @classmethod
    def of(cls, record: TrialRecord) -> Candidate:
        """The candidate a trial's or baseline's record is about."""
        assert record.kind != "dense"
        return cls(record.kind, record.name, record.number, record.pruning_plan())

    def folder(self, study: StudyFolder) -> Path:
        """Where its files go."""
        return study.baseline(self.name) if self.number is None else study.trial(self.number)


def evaluate_untrained(
    bench: Informed, candidate: Candidate, listener: SearchListener
) -> TrialRecord:
    """Rung UNTRAINED: prune, predict the latency and validate without any training.

    Args:
        bench: The study; a plan predicted clearly above its latency limit is not validated.
        candidate: Plan and name.
        listener: Hears the stages.

    Returns:
        The record, already on disk; a failure is data, not an exception.

    Raises:
        StudyMismatch, ConfigError: The setup is at fault, not the candidate.
        StorageFailed: The disk is full.
    """
    return _Run(bench, candidate, listener).attempted(_Run.score_untrained)


def measure_candidate(
    bench: Informed,
    candidate: Candidate,
    listener: SearchListener,
    known: TrialRecord | None = None,
    *,
    however_slow: bool = False,
) -> TrialRecord:
    """Prune and measure the latency on the target, where nothing else may be running.

    Args:
        bench: The study; a plan not surely within its latency limit, by the measured interval,
            is over budget. One that is, but by less than processes differ, is timed in more.
        candidate: Plan and name.
        listener: Hears the stages.
        known: The candidate's record of rung UNTRAINED, if it has one.
        however_slow: It is to be trained all the same.

    Returns:
        The record, already on disk: "over_budget", "failed", or "scored", which can be trained.

    Raises:
        TargetUnreachable, StudyMismatch, ConfigError: The setup is at fault, not the candidate.
        StorageFailed: The disk is full.
    """
    run = _Run(bench, candidate, listener, known)
    return run.attempted(lambda run: run.measure(however_slow=however_slow))


def train_candidate(
    bench: Informed,
    candidate: Candidate,
    listener: SearchListener,
    known: TrialRecord,
    most_s: float | None = None,
) -> TrialRecord:
    """Rung SHORT: fine-tune a measured candidate shortly and validate it.

    Args:
        bench: The study.
        candidate: Plan and name.
        listener: Hears the stages.
        known: What `measure_candidate` returned.
        most_s: Seconds that the fine-tune may take: it is cut short to keep them.

    Returns:
        The record, already on disk; a failure is data, not an exception.

    Raises:
        StudyMismatch, ConfigError: The setup is at fault, not the candidate.
        StorageFailed: The disk is full.
    """
    run = _Run(bench, candidate, listener, known)
    return run.attempted(lambda run: run.train(most_s))


class _Run:
    """What is known so far about a candidate under evaluation."""

    def __init__(
        self,
        bench: Informed,
        candidate: Candidate,
        listener: SearchListener,
        known: TrialRecord | None = None,
    ) -> None:
        self.bench, self.candidate, self.listener = bench, candidate, listener
        self.folder = candidate.folder(bench.folder)
        self.began = time.monotonic()
        started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.record = known or TrialRecord(
            kind=candidate.kind,
            name=candidate.name,
            number=candidate.number,
            state="failed",
            plan=candidate.plan.to_mapping(),
            kept=bench.pruner.kept_widths(candidate.plan),
            started=started,
            seconds=0.0,
        )
        self.seconds_before = self.record.seconds

    def attempted(self, work: Callable[[_Run], State]) -> TrialRecord:
        """Do the work, unless it took its worker down too often, or hung."""
        with attempt(self.folder) as refused:
            return self.guarded(work) if refused is None else self.save("failed", refused)

    def guarded(self, work: Callable[[_Run], State]) -> TrialRecord:
        """Do the work; write the record, whatever comes of it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.candidate.plan.save(self.folder / "plan.yaml")
        clear_leftovers(self.folder)
        try:
            with quiet(self.folder / "log.txt"):
                state = work(self)
        except Exception as error:
            return self.save("failed", candidate_failure(error, self.folder))
        return self.save(state)

    def score_untrained(self) -> State:
        bench = self.bench
        pruned = self._pruned()
        predicted_ms = bench.predicted_ms(self.candidate.plan)
        self._note(size=model_size(pruned, bench.imgsz), predicted_ms=predicted_ms)
        room = 1 + CLEARLY_OVER * bench.predictor.error.mape
        if not bench.limit.judge_predicted(predicted_ms, room):
            return "over_budget"
        self._add_score(self._untrained_score(pruned))
        return "scored"

    def measure(self, *, however_slow: bool) -> State:
        bench = self.bench
        pruned = self._pruned()
        if self.record.size is None:
            predicted_ms = bench.predicted_ms(self.candidate.plan)
            self._note(size=model_size(pruned, bench.imgsz), predicted_ms=predicted_ms)
        self.listener.stage("latency")
        latency = bench.measure(pruned, self.folder, Processes(1, CLOSER_LOOK, self._close))
        self._note(latency=latency)
        slow = bench.limit.judge_latency(latency) < Evidence.INTERVAL
        return "over_budget" if slow and not however_slow else "scored"

    def _close(self, found: LatencyResult) -> bool:
        """Whether a measurement finds the plan within the limit, and another process may not."""
        limit = self.bench.limit
        wider = found.model_copy(update={"high_ms": found.high_ms * (1 + PROCESSES_DIFFER)})
        both = limit.judge_latency(found), limit.judge_latency(wider)
        return both[0] is Evidence.INTERVAL > both[1]

    def train(self, most_s: float | None) -> State:
        began = time.monotonic()
        pruned = self._pruned()
        if self.record.at_rung(UNTRAINED) is None:
            self._add_score(self._untrained_score(pruned))
        self.listener.stage("fine-tune")
        images = self.bench.recalibration_images
        renormalize_batchnorm(pruned, images, self.bench.train_size, self.bench.device)
        if most_s is not None:
            most_s -= time.monotonic() - began
        trained = self._fine_tuned(pruned, most_s)
        short = self.record.at_rung(SHORT)
        reached = short.float_map50_95 if short is not None else 0.0
        untrained_kept = reached < (self.record.untrained_map50_95 or 0.0)
        self._note(untrained_kept=untrained_kept)
        if untrained_kept and self.bench.quantizes:
            self._quantize_untrained(pruned)
        kept = pruned if untrained_kept else trained
        self.bench.save_model(kept, self.folder / "model.pt", self.candidate.plan)
        return "complete"

    def _pruned(self) -> nn.Module:
        bench = self.bench
        self.listener.stage("prune")
        pruned = bench.pruner.prune(self.candidate.plan, str(self.folder / "plan.yaml"))
        if not bench.pruner.compensated:  # compensation sets the batch norms' means itself
            self.listener.stage("recalibrate")
            images = bench.recalibration_images
            recalibrate_batchnorm(pruned, images, bench.train_size, bench.device)
        return pruned

    def _untrained_score(self, pruned: nn.Module) -> RungScore:
        bench = self.bench
        self.listener.stage("validate")
        began = time.monotonic()
        images = bench.data.selection_images
        metrics = validate(pruned, bench.data, images, bench.train_size, bench.device)
        seconds = time.monotonic() - began
        return RungScore(rung=UNTRAINED, epochs=0, images_seen=0, seconds=seconds, metrics=metrics)

    def _quantize_untrained(self, pruned: nn.Module) -> None:
        """The INT8 file of what is kept, and its score in place of the float one."""
        bench = self.bench
        file = bench.kept_file(self.folder)
        metrics = score_quantized(bench, pruned, file, bench.data.selection_images)
        rungs = [
            score
            if score.rung != UNTRAINED
            else score.model_copy(update={"metrics": metrics, "float_metrics": score.metrics})
            for score in self.record.rungs
        ]
        self._note(rungs=tuple(rungs))

    def _fine_tuned(self, pruned: nn.Module, most_s: float | None) -> nn.Module:
        bench, untrained = self.bench, self.record.untrained_map50_95 or 0.0
        dense_map = bench.limit.dense_map
        lost = 1 - untrained / dense_map if dense_map else 0.0
        settings = bench.fine_tune.after_losing(lost)
        module, score = train_and_score(
            bench, pruned, untrained, self.folder, self.listener, settings, SHORT, most_s
        )
        if score.metrics.map50_95 <= 0:
            raise TrialFailed("collapsed", f"{score.metrics.metric} is 0 after the fine-tune")
        self._add_score(score)
        return module

    def _note(self, **found: Any) -> None:
        self.record = self.record.model_copy(update=found)

    def _add_score(self, score: RungScore) -> None:
        self._note(rungs=(*self.record.rungs, score))

    def save(self, state: State, failure: Failure | None = None) -> TrialRecord:
        """Write the record as far as it is known."""
        seconds = self.seconds_before + time.monotonic() - self.began
        self._note(state=state, failure=failure, seconds=seconds)
        self.bench.folder.save_record(self.record)
        return self.record
