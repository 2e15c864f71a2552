"""run_search: the whole search, from a StudyConfig to an Outcome, read top to bottom."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import filelock
import optuna
from optuna.exceptions import ExperimentalWarning

from autoprune.domain.config import StudyConfig
from autoprune.domain.outcome import Outcome
from autoprune.domain.ranking import ranked
from autoprune.domain.record import TrialRecord
from autoprune.errors import StorageFailed, StudyMismatch, TargetUnreachable
from autoprune.latency.predictor import LatencyPredictor
from autoprune.latency.targets import LatencyTarget
from autoprune.pruning.trace_geometry import model_geometry
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.prepare import prepare
from autoprune.search.context.study_settings import save_or_compare, settings_of
from autoprune.search.context.workbench import Workbench
from autoprune.search.evaluate.baselines import evaluate_baselines
from autoprune.search.evaluate.reuse import earlier_studies, take_tables, take_trials
from autoprune.search.evaluate.trials import TrialLoop
from autoprune.search.feasibility.report_verdict import say_verdict
from autoprune.search.learn.dense import dense_is_enough, measured_dense
from autoprune.search.learn.learn_latency import DEMO_LIMIT_S, LIMIT_S, learn_latency, shared_folder
from autoprune.search.learn.profile import Profile
from autoprune.search.learn.target_space import with_target_space
from autoprune.search.propose.names import check_names
from autoprune.search.propose.objectives import OBJECTIVES
from autoprune.search.propose.proposals import proposals
from autoprune.search.propose.samplers import Known
from autoprune.search.propose.study_sampler import study_sampler
from autoprune.search.select.finish import (
    better_published,
    confirm_best,
    outcome_of,
    publish_best,
    score_on_new_images,
)
from autoprune.search.select.lengthen import lengthen
from autoprune.search.select.promote import Promotions, drop_weights
from autoprune.storage.study_folder import StudyFolder
from autoprune.storage.yaml_io import write_atomic

# How --timeout is divided once the baselines are done: trials without training, then short
# fine-tunes, then the longer one; what is left confirms the best plan and scores the front.
TRIALS_UNTIL, SHORT_UNTIL, LONG_UNTIL = 0.3, 0.6, 0.92
LEARNING_SHARE = 0.12  # of --timeout, at most, for learning to predict latency; without one:
LEARNING_PER_MS, LEAST_LEARNING_S = 5.0, 20.0  # seconds per ms of the dense model, and at least


@dataclass(frozen=True)
class Prepared:
    """A study ready to run; nothing has been measured yet."""

    bench: Workbench
    demo: bool
    began: float  # time.monotonic() when loading started: --timeout counts from here

    @property
    def folder(self) -> StudyFolder:
        """Where the study lives."""
        return self.bench.folder


@dataclass(frozen=True)
class Clock:
    """Divides the time left of --timeout between the stages that follow."""

    now: float
    ends: float | None

    @classmethod
    def after_baselines(cls, began: float, limit_s: float | None) -> Clock:
        """Start dividing now; `began` is when the limit began to count."""
        return cls(time.monotonic(), None if limit_s is None else began + limit_s)

    def at(self, share: float) -> float | None:
        """`time.monotonic()` at a share of the time left, or None without a limit."""
        return None if self.ends is None else self.now + share * (self.ends - self.now)


def prepare_search(
    config: StudyConfig,
    studies: Path,
    listener: SearchListener,
    target: LatencyTarget | None = None,
) -> Prepared:
    """Load and check everything, calibrate, and open the study's folder.

    Raises:
        ConfigError, UnsupportedModel, PlanError: Wrong input.
        StudyMismatch: The folder holds a study with other settings.
    """
    began = time.monotonic()
    check_names(config)
    bench, demo = prepare(config, studies, listener, target)
    save_or_compare(bench, settings_of(bench, demo))
    return Prepared(bench, demo, began)


def run_search(prepared: Prepared, listener: SearchListener) -> Outcome:
    """Run or continue a search until it stops by itself.

    Raises:
        KeyboardInterrupt: Passed on; the study can be continued by the same command.
        TargetUnreachable: The device is gone; likewise.
        StudyMismatch: The study's space.yaml was changed since it began.
        TooManyFailures: Trials fail one after another.
    """
    bench, began = prepared.bench, prepared.began
    goal, limit = bench.config.goal, bench.config.timeout_s
    Outcome(status="running").save(bench.folder.outcome)
    if bench.data.overlap:
        listener.say(f"Note: {bench.data.overlap} of the val images are in train too.")
    with _alone(bench.folder.root / ".prepare.lock", listener):
        bench, dense = measured_dense(bench, listener)
        assert dense.latency is not None
        budget_ms = goal.budget_ms(dense.latency.median_ms)
        if (
            budget_ms is not None
            and dense.latency.high_ms <= budget_ms
            and bench.config.trials is None
            and (outcome := dense_is_enough(bench, dense, budget_ms)) is not None
        ):
            listener.say("The dense model is within the budget already: nothing to prune.")
            listener.say("For a search, ask for less: a smaller --budget-ms, or --speedup 1.7.")
            return outcome
        earlier = earlier_studies(bench)
        take_tables(bench, earlier)
        bench = bench.with_predictor(_learned(prepared, bench, listener))
        bench = with_target_space(bench, listener)
        bench = say_verdict(bench, budget_ms, listener)
        baselines = evaluate_baselines(bench, budget_ms, listener, earlier)
        with _database_errors(bench):
            study = _open_study(bench, dense, earlier, listener)
    clock = Clock.after_baselines(began, limit)
    loop = TrialLoop(bench, study, dense, baselines, listener, clock.at(TRIALS_UNTIL))
    with _database_errors(bench):
        stopped_by = loop.run()
    Promotions(bench, dense, listener, clock.at(SHORT_UNTIL)).run()
    with _alone(bench.folder.root / ".finish.lock", listener):
        return finish_search(bench, dense, stopped_by, listener, clock.at(LONG_UNTIL))


def finish_search(
    bench: Workbench,
    dense: TrialRecord,
    stopped_by: str,
    listener: SearchListener,
    stop_at: float | None,
) -> Outcome:
    """Confirm, score, publish, train the best on and sum up."""
    records = [*bench.folder.baseline_records(), *bench.folder.trial_records()]
    best = confirm_best(bench, records, dense, listener)
    publish_best(bench, best)
    outcome = outcome_of(bench, records, dense, best, stopped_by)
    outcome.save(bench.folder.outcome)
    score_on_new_images(bench, records, listener, *([best] if best else []))
    if best is not None:
        best = lengthen(bench, bench.folder.reread(best), listener, stop_at)
        best = better_published(bench, best)
        publish_best(bench, best)
        outcome = outcome.model_copy(update={"best": best.name})
        outcome.save(bench.folder.outcome)
    if bench.config.keep == "front":
        drop_weights(bench, records, [best] if best else [])
    return outcome


@contextmanager
def _database_errors(bench: Workbench) -> Iterator[None]:
    """A database that cannot be read or written is the disk's fault: the study is paused."""
    try:
        yield
    except optuna.exceptions.StorageInternalError as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise StorageFailed(f"{bench.folder.database}: {reason}") from error


@contextmanager
def _alone(path: Path, listener: SearchListener) -> Iterator[None]:
    """Hold a study-wide lock; says so when another search of this study holds it."""
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        listener.say("Another search works on this study; waiting for its part to finish.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def note_stop(prepared: Prepared, error: BaseException) -> None:
    """Write down why a search stopped before its end; the study stays resumable."""
    paused = isinstance(error, (KeyboardInterrupt, TargetUnreachable, StorageFailed))
    status: Literal["interrupted", "failed"] = "interrupted" if paused else "failed"
    message = " ".join(str(error).split())
    bench, dense = prepared.bench, prepared.folder.dense_record()
    if dense is None:
        Outcome(status=status, stopped_by=status, message=message).save(bench.folder.outcome)
        return
    known = bench.folder.load_outcome()
    if known is not None and known.status == "finished":  # by then only a longer fine-tune is open
        return
    records = [*bench.folder.baseline_records(), *bench.folder.trial_records()]
    goal = bench.config.goal
    assert dense.latency is not None
    budget_ms = goal.budget_ms(dense.latency.median_ms)
    meeting = [
        record
        for record in ranked(records, goal, dense)
        if budget_ms is None or record.confirmed is None or record.confirmed.high_ms <= budget_ms
    ]
    best = min(meeting, key=lambda record: record.confirmed is None, default=None)
    outcome = outcome_of(bench, records, dense, best, status)
    outcome = outcome.model_copy(update={"status": status, "message": message})
    outcome.save(bench.folder.outcome)


def _open_study(
    bench: Workbench, dense: TrialRecord, earlier: list[StudyFolder], listener: SearchListener
) -> optuna.Study:
    """Create or continue the Optuna study.

    A new one takes over what earlier studies know, and gets the profile's proposals enqueued.
    """
    assert bench.predictor is not None
    assert dense.latency is not None
    goal, profile = bench.config.goal, Profile.of(bench.pruner, bench.space, bench.predictor)
    budget_ms = goal.budget_ms(dense.latency.median_ms)
    limit_ratio = None if budget_ms is None else budget_ms / dense.latency.median_ms
    known = Known(profile, limit_ratio, dense.map50_95 or 1.0)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=bench.config.name,
        storage=f"sqlite:///{bench.folder.database.resolve()}",
        sampler=study_sampler(bench.config.sampler, known, bench.config.seed),
        directions=[objective.direction for objective in OBJECTIVES],
        load_if_exists=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # the dashboard's column names
        study.set_metric_names([objective.name for objective in OBJECTIVES])
    _refuse_other_widths(study, bench)
    write_atomic(bench.folder.profile, json.dumps(profile.to_mapping(), indent=1) + "\n")
    if not study.user_attrs.get("proposals enqueued"):
        take_trials(bench, study, dense, earlier, listener)
        for kept in proposals(profile, goal, dense.latency.median_ms):
            open_choices = {
                name: width for name, width in kept.items() if len(bench.space.choices[name]) > 1
            }
            study.enqueue_trial(open_choices, skip_if_exists=True)
        study.set_user_attr("proposals enqueued", True)
    return study


def _refuse_other_widths(study: optuna.Study, bench: Workbench) -> None:
    """Note a new study's widths in it, or refuse to continue it with others.

    Raises:
        StudyMismatch: space.yaml was changed since the study began.
    """
    offered = {name: list(widths) for name, widths in bench.space.choices.items()}
    if study.user_attrs.get("widths on offer", offered) != offered:
        raise StudyMismatch(
            f"{bench.folder.space}: not the widths that this study began with; undo the change, or"
            " give the file to a new study: --space and --name"
        )
    study.set_user_attr("widths on offer", offered)


def _learned(prepared: Prepared, bench: Workbench, listener: SearchListener) -> LatencyPredictor:
    """Learn the target's latency, within the share of --timeout that is meant for it.

    What was timed for an earlier study of the same architecture and target is used again. A study
    that is continued keeps the predictor it began with.
    """
    assert bench.dense_latency is not None
    if bench.folder.predictor.exists():
        geometry = model_geometry(bench.pruner.model, bench.pruner.groups, bench.imgsz)
        return LatencyPredictor.load(bench.folder.predictor, geometry)
    wanted_s = LEARNING_PER_MS * bench.dense_latency.median_ms
    limit_s = DEMO_LIMIT_S if prepared.demo else min(LIMIT_S, max(LEAST_LEARNING_S, wanted_s))
    if bench.config.timeout_s is not None:
        limit_s = min(limit_s, LEARNING_SHARE * bench.config.timeout_s)
    listener.candidate("latency predictor", None, None)
    listener.stage("latency")
    predictor = learn_latency(bench, shared_folder(bench), listener, limit_s)
    predictor.save(bench.folder.predictor)
    return predictor
