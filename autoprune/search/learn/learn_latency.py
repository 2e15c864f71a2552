"""Times training plans on the target and learns a LatencyPredictor from them."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

from torch import nn

from autoprune.domain.config import StudyConfig
from autoprune.domain.geometry import ModelGeometry
from autoprune.domain.plan import PruningPlan
from autoprune.domain.record import Fingerprint, LatencyResult
from autoprune.errors import ConfigError, TrialFailed
from autoprune.latency.exported_model import ExportedModel
from autoprune.latency.measure import (
    RuntimeOptions,
    TimingSettings,
    compare,
    refuse_other_fingerprint,
)
from autoprune.latency.predictor import LatencyPredictor
from autoprune.latency.slim_files import SlimFiles, slim_files
from autoprune.latency.targets import LatencyTarget
from autoprune.latency.timed_plans import LatencyTable, TimedPlan
from autoprune.latency.training_plans import training_plan
from autoprune.pruning.prune import Pruner
from autoprune.pruning.trace_geometry import model_geometry
from autoprune.search.context.listener import SearchListener
from autoprune.storage.cache import cache_folder
from autoprune.storage.locks import alone
from autoprune.storage.scratch import scratch_folder

PLANS = 48
LIMIT_S = 300.0
_FEWEST = 16  # timed even if the limit passes: fewer teach nothing
_BATCH = 6  # most plans interleaved with the dense model in one process
_BATCH_BYTES = 400_000_000  # of model files in one process: a runtime needs several times as much
_BATCH_S = (2.0, 30.0)  # shortest and longest timing of one batch
_SURE_ENOUGH = 0.015  # half-width of a ratio's interval that is not worth timing again
_FAILURES_ALLOWED = 3
_LEAST_BLOCKS = 6  # of each plan, however slow: three pairs with the dense model


class LatencyBench(Protocol):
    """What learning needs of a `Calibrated` study: no data, no training."""

    @property
    def config(self) -> StudyConfig:
        """Its seed chooses the plans."""

    @property
    def pruner(self) -> Pruner:
        """Holds the dense model."""

    @property
    def imgsz(self) -> tuple[int, int]:
        """Height and width in pixels."""

    @property
    def target(self) -> LatencyTarget:
        """Where plans are timed."""

    @property
    def options(self) -> RuntimeOptions:
        """The runtime."""

    @property
    def dense_export(self) -> ExportedModel:
        """The dense model in the runtime's format."""

    @property
    def dense_latency(self) -> LatencyResult:
        """As measured."""

    def export(self, module: nn.Module, folder: Path, *, rewritten: bool = True) -> ExportedModel:
        """Write the runtime's file for a module into `folder`; see `export_model`."""


@dataclass(frozen=True)
class PlanTimer:
    """Makes models of plans, with meaningless weights, and times them against the dense one.

    Attributes:
        dense: The dense model in the runtime's format.
        export: (pruned module, folder) -> its file, for runtimes whose files cannot be edited.
        expected: Fingerprint that the timings must have; None to take the first.
        slim: Cut the dense file where the runtime's files can be cut, which takes milliseconds.
        dense_s: What one run of the dense model takes, if known, for time limits.
    """

    pruner: Pruner
    imgsz: tuple[int, int]
    target: LatencyTarget
    options: RuntimeOptions
    dense: ExportedModel
    export: Callable[[nn.Module, Path], ExportedModel]
    expected: Fingerprint | None = None
    dense_s: float = TimingSettings.run_s
    slim: bool = True

    @cached_property
    def geometry(self) -> ModelGeometry:
        """Of the dense model at `imgsz`."""
        return model_geometry(self.pruner.model, self.pruner.groups, self.imgsz)

    @cached_property
    def batch(self) -> int:
        """Plans to time in one process."""
        return min(_BATCH, models_at_once(self.dense))

    @cached_property
    def _slim_files(self) -> SlimFiles | None:
        """None where plans must be pruned and exported, which takes seconds each."""
        found = slim_files(self.dense, self.pruner.model) if self.slim else None
        covered = found is not None and found.covers(conv.name for conv in self.geometry.convs)
        return found if covered else None

    def time(self, plans: list[PruningPlan], seconds: float) -> LatencyTable:
        """Time plans interleaved in one process of about `seconds`.

        Raises:
            TrialFailed: A model could not be made or timed.
            StudyMismatch: The timings have not the fingerprint expected.
            TargetUnreachable: The device is gone.
        """
        began = time.monotonic()
        models = [ExportedModel(self.dense.path, self.options.runtime, self.imgsz, "user")]
        with scratch_folder("plans") as draft:
            models += [
                self._model(plan, Path(draft) / str(number)) for number, plan in enumerate(plans)
            ]
            cap_s = 2 * seconds / len(models)  # `compare` allows it per pair of models
            settings = TimingSettings(
                warmup_s=0.05,
                min_blocks=10,
                least_blocks=_LEAST_BLOCKS,
                min_s=cap_s / 4,
                dense_s=cap_s / 4,
                cap_s=cap_s,
                run_s=self.dense_s,
            )
            made_s, began = time.monotonic() - began, time.monotonic()
            reference, *results = compare(self.target, models, self.options, settings)
            # beyond this it waited for another measurement, which is no cost of learning
            most_s = settings.limit_s(len(models)) - settings.load_s + seconds + 10.0
            timed_s = min(time.monotonic() - began, most_s)
        if self.expected is not None:
            refuse_other_fingerprint(self.expected, reference.fingerprint)
        timed = tuple(
            TimedPlan.of(self.pruner.signature(plan), result)
            for plan, result in zip(plans, results, strict=True)
        )
        return LatencyTable(
            geometry=self.geometry.digest,
            fingerprint=reference.fingerprint,
            plans=timed,
            seconds=made_s + timed_s,
        )

    def _model(self, plan: PruningPlan, folder: Path) -> ExportedModel:
        """The plan's model without a reference output: its numbers mean nothing."""
        if self._slim_files is None:
            path = self.export(self.pruner.prune(plan), folder).path
        else:
            widths = self.geometry.conv_widths(self.pruner.signature(plan))
            path = self._slim_files.write(widths, folder / f"model{self.options.row.suffix}")
        return ExportedModel(path, self.options.runtime, self.imgsz, "user")


def models_at_once(dense: ExportedModel) -> int:
    """How many models of the dense one's size a process may hold beside it."""
    return max(1, _BATCH_BYTES // dense.path.stat().st_size)


def learn_latency(
    bench: LatencyBench, folder: Path, listener: SearchListener, time_limit_s: float = LIMIT_S
) -> LatencyPredictor:
    """Learn to predict the latency of any plan for the bench's model, target and image size.

    Timed plans are kept in `folder/latency_table.json` after every batch. A repeated call goes on
    from there; once the plans are timed or the time is spent, it only fits, in about a second.

    Args:
        bench: The study's model, target and settings.
        folder: Where the table is kept.
        listener: Told about progress.
        time_limit_s: For timing plans, in seconds, over all calls; 16 plans are timed anyway.

    Raises:
        StudyMismatch: The table is of another model, image size, machine or runtime.
        TrialFailed: Plans fail one after another.
        TargetUnreachable: The device is gone.
    """
    timer = PlanTimer(
        pruner=bench.pruner,
        imgsz=bench.imgsz,
        target=bench.target,
        options=bench.options,
        dense=bench.dense_export,
        export=bench.export,
        expected=bench.dense_latency.fingerprint,
        dense_s=bench.dense_latency.median_ms / 1e3,
    )
    plans = [
        training_plan(bench.pruner.widths, bench.config.seed, number) for number in range(PLANS)
    ]
    table = time_plans(timer, plans, folder / "latency_table.json", listener, time_limit_s)
    predictor = table.fit(timer.geometry)
    error = predictor.error
    listener.say(
        f"Latency learned from {error.plans} timed plans: predictions are off by"
        f" {100 * error.mape:.1f} %, channels count in blocks of {predictor.staircase.block}."
    )
    return predictor


def shared_folder(bench: LatencyBench) -> Path:
    """Where studies of one architecture, target, runtime and image size share their table."""
    geometry = model_geometry(bench.pruner.model, bench.pruner.groups, bench.imgsz)
    facts = geometry.digest + bench.dense_latency.fingerprint.model_dump_json()
    key = hashlib.sha256(facts.encode()).hexdigest()[:24]
    return cache_folder() / "latency" / key


def time_plans(
    timer: PlanTimer,
    plans: list[PruningPlan],
    path: Path,
    listener: SearchListener,
    time_limit_s: float,
) -> LatencyTable:
    """Time the plans that the table at `path` lacks; left-over time goes to the least certain.

    Raises:
        StudyMismatch, TrialFailed, TargetUnreachable: As `learn_latency`.
    """
    table = _kept_table(timer, path, listener)
    if table is not None and timer.expected is not None:
        refuse_other_fingerprint(table.fingerprint, timer.expected)
    wanted = {timer.pruner.signature(plan): plan for plan in plans}
    overhead_s, failures, batch = 2.0, 0, timer.batch
    if table is None:
        listener.say(f"Learning what costs time on the target: {len(wanted)} plans are timed.")
    while todo := _todo(table, list(wanted)):
        left_s = time_limit_s - (table.seconds if table else 0.0)
        enough = table is not None and len(table.plans) >= min(_FEWEST, len(wanted))
        if enough and left_s <= _BATCH_S[0] + overhead_s:
            break
        share_s = left_s / math.ceil(len(todo) / batch) - overhead_s
        seconds = min(max(share_s, _BATCH_S[0]), _BATCH_S[1])
        try:
            timed = timer.time([wanted[kept] for kept in todo[:batch]], seconds)
        except TrialFailed as failure:
            failures += 1
            batch = max(1, batch // 2)  # too slow or too large for one process, perhaps
            timer = replace(timer, slim=False)  # or of a kind that cannot be cut
            listener.say(f"Timing plans for the latency predictor failed: {failure}")
            if failures >= _FAILURES_ALLOWED:
                raise
            continue
        overhead_s = max(0.5, timed.seconds - seconds)
        table = _add(timer, path, timed)
        listener.stage(f"{len(table.plans)} of {len(wanted)} plans timed")
    if table is None:
        raise ConfigError("latency: got no plan to time, expected at least one")
    return table


def _kept_table(timer: PlanTimer, path: Path, listener: SearchListener) -> LatencyTable | None:
    """What was timed before; a file that cannot be read is set aside, not in the way."""
    try:
        return LatencyTable.load_for(path, timer.geometry) if path.exists() else None
    except ConfigError as error:
        aside = path.with_suffix(".broken")
        path.replace(aside)
        listener.say(f"{error}; set aside as {aside.name}.")
        return None


def _add(timer: PlanTimer, path: Path, timed: LatencyTable) -> LatencyTable:
    """Add timed plans to the file, beside what another search may have added meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with alone(path.with_suffix(".lock")):
        kept = LatencyTable.load_for(path, timer.geometry) if path.exists() else None
        table = timed if kept is None else kept.merged(timed)
        table.save(path)
    return table


def _todo(table: LatencyTable | None, wanted: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Plans not timed yet; when there are none, the vague ones that were timed once."""
    known = table.known if table else {}
    missing = [kept for kept in wanted if kept not in known]
    vague = [known[kept] for kept in wanted if kept in known]
    vague = [plan for plan in vague if plan.timings == 1 and plan.half_width > _SURE_ENOUGH]
    return missing or [plan.kept for plan in sorted(vague, key=lambda plan: -plan.half_width)]
