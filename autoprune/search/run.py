"""run_search: the whole search, from a StudyConfig to an Outcome, read top to bottom."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

import filelock
import optuna
from optuna.exceptions import ExperimentalWarning

from autoprune.config import StudyConfig
from autoprune.errors import StorageFailed
from autoprune.evaluation.quiet import quiet
from autoprune.evaluation.validate import validate
from autoprune.latency.measure import measure_dense
from autoprune.latency.targets import LatencyTarget
from autoprune.outcome import Outcome
from autoprune.pruning.prune import uniform_plan
from autoprune.pruning.size import model_size
from autoprune.record import RungScore, TrialRecord
from autoprune.search.baselines import evaluate_baselines
from autoprune.search.candidates import ranked
from autoprune.search.finish import (
    confirm_best,
    outcome_of,
    publish_best,
    score_on_new_images,
)
from autoprune.search.first_plans import first_plans
from autoprune.search.listener import SearchListener
from autoprune.search.objectives import OBJECTIVES
from autoprune.search.prepare import prepare
from autoprune.search.samplers import FreshPerTrial
from autoprune.search.settings import save_or_compare, settings_of
from autoprune.search.trials import TrialLoop
from autoprune.search.workbench import Workbench
from autoprune.study_folder import StudyFolder

FINISHING_SHARE = 0.12  # of --timeout, kept for confirming the best plan and scoring the front


@dataclass(frozen=True)
class Prepared:
    """A study ready to run; nothing has been measured yet."""

    bench: Workbench
    demo: bool

    @property
    def folder(self) -> StudyFolder:
        """Where the study lives."""
        return self.bench.folder


def prepare_search(
    config: StudyConfig, studies: Path, target: LatencyTarget | None = None
) -> Prepared:
    """Load and check everything, and open the study's folder.

    Raises:
        ConfigError, UnsupportedModel, PlanError: Wrong input.
        StudyMismatch: The folder holds a study with other settings.
    """
    bench, demo = prepare(config, studies, target)
    save_or_compare(bench, settings_of(bench, demo))
    return Prepared(bench, demo)


def run_search(prepared: Prepared, listener: SearchListener) -> Outcome:
    """Run or continue a search until it stops by itself.

    Raises:
        KeyboardInterrupt: Passed on; the study can be continued by the same command.
        TargetUnreachable: The device is gone; likewise.
        TooManyFailures: Trials fail one after another.
    """
    bench, began = prepared.bench, time.monotonic()
    goal, limit = bench.config.goal, bench.config.timeout_s
    Outcome(status="running").save(bench.folder.outcome)
    if bench.data.overlap:
        listener.say(f"Note: {bench.data.overlap} of the val images are in train too.")
    with _alone(bench.folder.root / ".prepare.lock", listener):
        bench, dense = _measured_dense(bench, listener)
        assert dense.latency is not None
        budget_ms = goal.budget_ms(dense.latency.median_ms)
        met_already = budget_ms is not None and dense.latency.high_ms <= budget_ms
        if met_already and bench.config.trials is None:
            listener.say("The dense model is within the budget already: nothing to prune.")
            return _dense_is_enough(bench, dense)
        baselines = evaluate_baselines(bench, budget_ms, listener)
        study = _open_study(bench, baselines)
    stop_at = None if limit is None else began + limit * (1 - FINISHING_SHARE)
    loop = TrialLoop(bench, study, dense, baselines, listener, stop_at)
    try:
        stopped_by = loop.run()
    except optuna.exceptions.StorageInternalError as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise StorageFailed(f"{bench.folder.database}: {reason}") from error
    with _alone(bench.folder.root / ".finish.lock", listener):
        return finish_search(bench, dense, stopped_by, listener)


def finish_search(
    bench: Workbench, dense: TrialRecord, stopped_by: str, listener: SearchListener
) -> Outcome:
    """Confirm, score, publish and sum up."""
    records = [*bench.folder.baseline_records(), *bench.folder.trial_records()]
    best = confirm_best(bench, records, dense, listener)
    publish_best(bench, best)
    outcome = outcome_of(bench, records, dense, best, stopped_by)
    outcome.save(bench.folder.outcome)
    score_on_new_images(bench, records, listener)
    return outcome


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
    status: Literal["interrupted", "failed"] = "interrupted"
    if not isinstance(error, KeyboardInterrupt):
        status = "failed"
    message = "" if status == "interrupted" else " ".join(str(error).split())
    bench, dense = prepared.bench, prepared.folder.dense_record()
    if dense is None:
        Outcome(status=status, stopped_by=status, message=message).save(bench.folder.outcome)
        return
    records = [*bench.folder.baseline_records(), *bench.folder.trial_records()]
    best = next(iter(ranked(records, bench.config.goal, dense)), None)
    outcome = outcome_of(bench, records, dense, best, status)
    outcome = outcome.model_copy(update={"status": status, "message": message})
    outcome.save(bench.folder.outcome)


def _measured_dense(bench: Workbench, listener: SearchListener) -> tuple[Workbench, TrialRecord]:
    """Accuracy, size and latency of the dense model, today on this target; once per study."""
    folder = bench.folder.dense
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    listener.candidate("dense model", None, None)
    known = bench.folder.dense_record()
    with quiet(folder / "log.txt"):
        listener.stage("latency")
        own = Path(tempfile.mkdtemp(prefix="export-", dir=folder))  # workers do not share it
        atexit.register(shutil.rmtree, own, ignore_errors=True)
        exported = bench.export(bench.yolo.model, own)
        if known is not None and known.latency is not None:
            listener.result(known, None)
            return bench.with_dense(exported, known.latency), known
        latency = measure_dense(bench.target, exported, bench.options, bench.timing)
        listener.stage("validate")
        metrics, final = (
            validate(bench.yolo.model, bench.data, images, bench.train_size, bench.device)
            for images in (bench.data.selection_images, bench.data.final_images)
        )
    plan = bench.annotated(uniform_plan(bench.pruner.widths, 0.0))
    plan.save(folder / "plan.yaml")
    record = TrialRecord(
        kind="dense",
        name="dense",
        number=None,
        state="complete",
        plan=plan.to_mapping(),
        kept=bench.pruner.kept_widths(plan),
        size=model_size(bench.yolo.model, bench.imgsz),
        latency=latency,
        rungs=(RungScore(rung=0, epochs=0, images_seen=0, seconds=0.0, metrics=metrics),),
        final=final,
        started=started,
        seconds=time.monotonic() - began,
    )
    bench.folder.save_record(record)
    listener.result(record, None)
    return bench.with_dense(exported, latency), record


def _dense_is_enough(bench: Workbench, dense: TrialRecord) -> Outcome:
    bench.save_model(bench.yolo.model, bench.folder.dense / "model.pt", dense.pruning_plan())
    confirmed = bench.measure(bench.yolo.model, bench.folder.dense)
    dense = dense.model_copy(update={"confirmed": confirmed})
    bench.folder.save_record(dense)
    publish_best(bench, dense)
    outcome = outcome_of(bench, [], dense, dense, "the dense model meets the budget already")
    outcome.save(bench.folder.outcome)
    return outcome


def _open_study(bench: Workbench, baselines: list[TrialRecord]) -> optuna.Study:
    """Create or continue the Optuna study; a new one gets its first plans enqueued."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=bench.config.name,
        storage=f"sqlite:///{bench.folder.database.resolve()}",
        sampler=FreshPerTrial(bench.config.sampler, bench.config.seed),
        directions=[objective.direction for objective in OBJECTIVES],
        load_if_exists=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # the dashboard's column names
        study.set_metric_names([objective.name for objective in OBJECTIVES])
    if not study.user_attrs.get("first plans enqueued"):
        for kept in first_plans(bench, baselines):
            open_choices = {
                name: width for name, width in kept.items() if len(bench.space.choices[name]) > 1
            }
            study.enqueue_trial(open_choices, skip_if_exists=True)
        study.set_user_attr("first plans enqueued", True)
    return study
