"""The one path of a candidate: prune, size, latency, gate, recalibrate, fine-tune, validate."""

from __future__ import annotations

import errno
import shutil
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from torch import nn

from autoprune.errors import (
    ConfigError,
    FailureReason,
    StorageFailed,
    StudyMismatch,
    TargetUnreachable,
    TrialFailed,
)
from autoprune.evaluation.fine_tune import fine_tune
from autoprune.evaluation.quiet import quiet
from autoprune.evaluation.recalibrate import recalibrate_batchnorm
from autoprune.evaluation.validate import validate
from autoprune.plan import PruningPlan
from autoprune.pruning.size import model_size
from autoprune.record import Failure, LatencyResult, ModelSize, RungScore, TrialRecord
from autoprune.search.listener import SearchListener
from autoprune.search.workbench import Workbench
from autoprune.study_folder import StudyFolder

SHORT_FINE_TUNE_RUNG = 1
FULL_DISK_BYTES = 20_000_000


@dataclass(frozen=True)
class Candidate:
    """A plan about to be evaluated, and what its record shall be called."""

    kind: Literal["baseline", "trial"]
    name: str
    number: int | None
    plan: PruningPlan

    def folder(self, study: StudyFolder) -> Path:
        """Where its files go."""
        return study.baseline(self.name) if self.number is None else study.trial(self.number)


def evaluate(
    bench: Workbench,
    candidate: Candidate,
    budget_ms: float | None,
    listener: SearchListener,
) -> TrialRecord:
    """Evaluate one candidate and write its record; a failure becomes data, not an exception.

    Args:
        bench: The prepared study.
        candidate: Plan and name.
        budget_ms: Above this latency nothing is trained; None trains whatever is drawn.
        listener: Hears the stages.

    Returns:
        The record, already on disk.

    Raises:
        TargetUnreachable, StudyMismatch, ConfigError: The setup is at fault, not the candidate.
        StorageFailed: The disk is full.
    """
    run = _Run(bench, candidate, listener)
    folder = candidate.folder(bench.folder)
    folder.mkdir(parents=True, exist_ok=True)
    candidate.plan.save(folder / "plan.yaml")
    _clear_leftovers(folder)
    try:
        with quiet(folder / "log.txt"):
            state = run.measure_and_train(folder, budget_ms)
        record = run.record(state)
    except (TargetUnreachable, StudyMismatch, ConfigError):
        raise  # the setup is wrong, not the candidate
    except Exception as error:  # any other failure concerns this candidate only
        if _is_disk_full(error, folder):
            raise StorageFailed(f"{folder}: the disk is full") from error
        record = run.record("failed", failure_of(error))
    bench.folder.save_record(record)
    return record


class _Run:
    """What is known so far about a candidate under evaluation."""

    def __init__(self, bench: Workbench, candidate: Candidate, listener: SearchListener) -> None:
        self.bench, self.candidate, self.listener = bench, candidate, listener
        self.began = time.monotonic()
        self.started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.size: ModelSize | None = None
        self.latency: LatencyResult | None = None
        self.rungs: tuple[RungScore, ...] = ()

    def measure_and_train(
        self, folder: Path, budget_ms: float | None
    ) -> Literal["complete", "over_budget"]:
        bench = self.bench
        self.listener.stage("prune")
        pruned = bench.pruner.prune(self.candidate.plan, str(folder / "plan.yaml"))
        self.size = model_size(pruned, bench.imgsz)
        self.listener.stage("latency")
        self.latency = bench.measure(pruned, folder)
        if budget_ms is not None and self.latency.median_ms > budget_ms:
            return "over_budget"
        if not bench.pruner.compensated:  # compensation has set the batch norms' means already
            self.listener.stage("recalibrate")
            recalibrate_batchnorm(
                pruned, bench.recalibration_images, bench.train_size, bench.device
            )
        self.listener.stage("fine-tune")
        trained = self._fine_tune(pruned, folder)
        bench.save_model(trained, folder / "model.pt", self.candidate.plan)
        return "complete"

    def _fine_tune(self, pruned: nn.Module, folder: Path) -> nn.Module:
        bench = self.bench
        began = time.monotonic()
        tuned = fine_tune(
            pruned,
            bench.data.training_yaml(bench.folder.root / "data"),
            bench.train_size,
            bench.fine_tune,
            folder,
            self.listener.epoch,
        )
        _require_same_shapes(pruned, tuned.module)
        self.listener.stage("validate")
        metrics = validate(
            tuned.module, bench.data, bench.data.selection_images, bench.train_size, bench.device
        )
        if metrics.map50_95 <= 0:
            raise TrialFailed("collapsed", "mAP50-95 is 0 after the fine-tune")
        score = RungScore(
            rung=SHORT_FINE_TUNE_RUNG,
            epochs=tuned.epochs,
            images_seen=tuned.images_seen,
            seconds=time.monotonic() - began,
            metrics=metrics,
        )
        self.rungs = (score,)
        return tuned.module

    def record(
        self,
        state: Literal["complete", "over_budget", "failed"],
        failure: Failure | None = None,
    ) -> TrialRecord:
        candidate = self.candidate
        return TrialRecord(
            kind=candidate.kind,
            name=candidate.name,
            number=candidate.number,
            state=state,
            plan=candidate.plan.to_mapping(),
            kept=self.bench.pruner.kept_widths(candidate.plan),
            size=self.size,
            latency=self.latency,
            rungs=self.rungs,
            failure=failure,
            started=self.started,
            seconds=time.monotonic() - self.began,
        )


def failure_of(error: Exception) -> Failure:
    """Sort an exception into the reasons the report counts."""
    text = " ".join(str(error).split())[:500] or type(error).__name__
    if isinstance(error, TrialFailed):
        return Failure(reason=error.reason, detail=error.detail)
    reason: FailureReason = "exception"
    if isinstance(error, MemoryError) or "out of memory" in text.lower():
        reason = "oom"
    return Failure(reason=reason, detail=f"{type(error).__name__}: {text}")


def failed_record(bench: Workbench, candidate: Candidate, failure: Failure) -> TrialRecord:
    """Write the record of a candidate that is given up without being evaluated."""
    record = _Run(bench, candidate, SearchListener()).record("failed", failure)
    bench.folder.save_record(record)
    return record


def _is_disk_full(error: Exception, folder: Path) -> bool:
    """Whether the disk is to blame; torch reports a full one as a RuntimeError of its own."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return shutil.disk_usage(folder).free < FULL_DISK_BYTES


def _clear_leftovers(folder: Path) -> None:
    """Remove what a killed worker left half-done in a candidate's folder."""
    for pattern in ("fine-tune-*", "export-*"):
        for leftover in folder.glob(pattern):
            shutil.rmtree(leftover, ignore_errors=True)
    for leftover in folder.glob("*.part"):
        leftover.unlink(missing_ok=True)


def _require_same_shapes(before: nn.Module, after: nn.Module) -> None:
    shapes: dict[str, Any] = {key: value.shape for key, value in before.state_dict().items()}
    for key, value in after.state_dict().items():
        if shapes.get(key) != value.shape:
            raise TrialFailed("exception", f"the fine-tune changed the shape of {key}")
