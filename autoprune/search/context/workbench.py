"""What a search knows, stage by stage: Checked -> Measured -> Calibrated -> Informed.

Each is made from the one before and holds all of it. What a function needs stands in its signature.
"""

from __future__ import annotations

import copy
import tempfile
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import nn

from autoprune.domain.config import StudyConfig
from autoprune.domain.goal import Limit
from autoprune.domain.plan import Calibration, PruningPlan
from autoprune.domain.record import LatencyResult, TrialRecord
from autoprune.domain.space import SearchSpace
from autoprune.evaluation.branches import deployed_branch, is_end_to_end
from autoprune.evaluation.dataset import DataSummary
from autoprune.evaluation.fewer_classes import KeptClasses
from autoprune.evaluation.fine_tune_settings import FineTuneSettings
from autoprune.evaluation.inside.pruned_yolo import PrunedYOLO, as_pruned_yolo
from autoprune.evaluation.pictures import Pictures
from autoprune.evaluation.regrowth_guard import seal
from autoprune.latency.checked_export import first_right
from autoprune.latency.export import ExportedModel, export_model
from autoprune.latency.measure import (
    RuntimeOptions,
    TimingSettings,
    check_answers,
    measure_against,
)
from autoprune.latency.predictor import LatencyPredictor
from autoprune.latency.processes import Processes
from autoprune.latency.quantizing import IMAGES, Quantizing
from autoprune.latency.targets import LatencyTarget
from autoprune.pruning.prune import Pruner
from autoprune.storage.study_folder import StudyFolder

DEFAULT_TRIALS = 60
ONE = Processes()

Later = TypeVar("Later", bound="Checked")


@dataclass(frozen=True)
class Checked:
    """One study's model, data, space, target and settings, loaded and checked.

    Attributes:
        demo: Whether it is the bundled demo.
        base_hash: Hash of the dense model, written into every plan.
        space: Widths on offer: as asked, or the shipped ones.
        recalibration_images: Training images that re-estimate batch-norm statistics.
        calibration: The images that importance and compensation look at; None if neither does.
        kept_classes: Of the file, what `yolo` and `data` are reduced to; None: all.
        full_range: Whether the target's CPU, and this one, add up products of 8 bits without
            overflow.
    """

    config: StudyConfig
    demo: bool
    folder: StudyFolder
    yolo: Any  # ultralytics.YOLO
    base_hash: str
    space: SearchSpace
    data: DataSummary
    imgsz: tuple[int, int]
    recalibration_images: tuple[Path, ...]
    fine_tune: FineTuneSettings
    device: str
    target: LatencyTarget
    options: RuntimeOptions
    timing: TimingSettings
    calibration: Calibration | None
    kept_classes: KeptClasses | None
    full_range: bool

    @property
    def quantizes(self) -> bool:
        """Whether the runtime's files are in INT8."""
        return self.options.row.quantize is not None

    @property
    def trial_limit(self) -> int | None:
        """Total number of trials, or None when only time limits them."""
        if self.config.trials is None and self.config.timeout_s is None:
            return DEFAULT_TRIALS
        return self.config.trials

    @property
    def train_size(self) -> int:
        """Square image size, in pixels, of training and validation: the longer side."""
        return max(self.imgsz)

    def records(self) -> list[TrialRecord]:
        """Every finished baseline and trial, as they are on disk now."""
        return [*self.folder.baseline_records(), *self.folder.trial_records()]

    def export(
        self,
        module: nn.Module,
        folder: Path,
        after: str | None = None,
        rewritten: bool = True,
        calibrated: bool = False,
    ) -> ExportedModel:
        """Write the runtime's file for a module into `folder`; see `export_model`.

        Args:
            module: The model.
            folder: Is created.
            after: As for `export_model`, like `rewritten`.
            rewritten: See there.
            calibrated: In INT8 with training images; else with noise, for a file that is only
                timed.

        Raises:
            TrialFailed: No exporter, or none of those left, writes it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = self.kept_file(folder)
        pictures = Pictures(self.recalibration_images[:IMAGES], self.imgsz, self.data.channels)
        quantizing = Quantizing(pictures if calibrated else None, self.full_range)
        runtime = self.options.runtime
        return export_model(module, path, self.imgsz, runtime, after, rewritten, quantizing)

    def kept_file(self, folder: Path) -> Path:
        """The runtime's file beside a model.pt."""
        return folder / f"model{self.options.row.suffix}"

    def keep_export(self, module: nn.Module, folder: Path) -> None:
        """Leave the runtime's file of a trained model in `folder`, ready to deploy.

        It has run on the target and answered as torch does, like a file that is timed.

        Raises:
            TrialFailed: No exporter writes such a file.
            TargetUnreachable: The device is gone.
        """
        with tempfile.TemporaryDirectory(prefix="export-", dir=folder) as draft:
            exported, _ = first_right(
                lambda after: self.export(module, Path(draft), after, calibrated=True),
                lambda exported: check_answers(self.target, exported, self.options),
            )
            exported.path.replace(folder / exported.path.name)

    def as_yolo(self, module: nn.Module) -> PrunedYOLO:
        """Wrap a pruned module so that training keeps its shape, at the study's image size."""
        yolo = as_pruned_yolo(module, self.yolo)
        yolo.overrides["imgsz"] = yolo.ckpt["train_args"]["imgsz"] = self.train_size
        described: Any = module
        described.args["imgsz"] = self.train_size
        return yolo

    def save_model(self, module: nn.Module, path: Path, plan: PruningPlan) -> None:
        """Save a module as a .pt of stock Ultralytics classes, a pruned one sealed."""
        module = copy.deepcopy(module)
        if not plan.removes_nothing():
            seal(module, {"base": self.base_hash, "plan": plan.to_mapping()})
        self.as_yolo(module).save(path)

    def annotated(self, plan: PruningPlan) -> PruningPlan:
        """The plan with everything that makes the same file give the same model again."""
        model = self.yolo.model
        return replace(
            plan,
            importance=self.config.importance,
            compensate=self.config.compensate,
            calibration=self.calibration,
            base=self.base_hash,
            classes=self.kept_classes.ids if self.kept_classes else None,
            nms=None if deployed_branch(model) is None else not is_end_to_end(model),
        )

    def grown(self, stage: type[Later], **more: Any) -> Later:
        """The next stage: everything known here, and `more`."""
        known = {field.name: getattr(self, field.name) for field in fields(self)}
        return stage(**known | more)


@dataclass(frozen=True)
class Measured(Checked):
    """The dense model's accuracy and latency are known, today on this target.

    Attributes:
        dense_export: The dense model in the runtime's format, kept for interleaved timing.
        dense: Its record.
        dense_latency: Its calibrated latency.
        limit: The goal against it.
        earlier: Studies beside this one that differ in the goal alone.
    """

    dense_export: ExportedModel
    dense: TrialRecord
    dense_latency: LatencyResult
    limit: Limit
    earlier: tuple[StudyFolder, ...]

    def measure(self, module: nn.Module, folder: Path, processes: Processes = ONE) -> LatencyResult:
        """Export a model and time it against the dense one in a clean process, or in several.

        For a file that does not answer as torch does, the next exporter writes another.

        Raises:
            TrialFailed: Export or measurement failed.
            TargetUnreachable: The device is gone.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="export-", dir=folder) as draft:
            _, found = first_right(
                lambda after: self.export(module, Path(draft), after),
                lambda exported: processes.time(lambda: self._timed(exported)),
            )
            return found

    def measure_file(self, file: Path, processes: Processes = ONE) -> LatencyResult:
        """Time a file of the runtime as `measure` times a model.

        Raises:
            TrialFailed: It does not run.
            TargetUnreachable: The device is gone.
        """
        exported = ExportedModel(file, self.options.runtime, self.imgsz, "kept")
        return processes.time(lambda: self._timed(exported))

    def _timed(self, exported: ExportedModel) -> LatencyResult:
        return measure_against(
            self.target,
            exported,
            self.dense_export,
            self.dense_latency,
            self.options,
            self.timing,
        )


@dataclass(frozen=True)
class Calibrated(Measured):
    """What each channel is worth is known: any plan can be carried out."""

    pruner: Pruner


@dataclass(frozen=True)
class Informed(Calibrated):
    """What each plan costs in time is known before it is tried.

    Attributes:
        predictor: Latency of any plan relative to dense.
        space: From here on, where the user named none, the widths on the target's steps.
    """

    predictor: LatencyPredictor

    def predicted_ms(self, plan: PruningPlan) -> float:
        """Latency of a plan by the predictor, in ms."""
        kept = np.array([self.pruner.signature(plan)])
        return float(self.predictor.predict(kept)[0]) * self.dense_latency.median_ms
