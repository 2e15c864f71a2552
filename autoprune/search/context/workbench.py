"""Workbench: everything a search prepares once and every candidate uses."""

from __future__ import annotations

import copy
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from autoprune.domain.config import StudyConfig
from autoprune.domain.plan import Calibration, PruningPlan
from autoprune.domain.record import LatencyResult
from autoprune.domain.space import SearchSpace
from autoprune.evaluation.dataset import DataSummary
from autoprune.evaluation.fine_tune_settings import FineTuneSettings
from autoprune.evaluation.pruned_yolo import PrunedYOLO, as_pruned_yolo
from autoprune.evaluation.regrowth_guard import seal
from autoprune.latency.export import ExportedModel, export_model
from autoprune.latency.measure import RuntimeOptions, TimingSettings, measure_against, together
from autoprune.latency.predictor import LatencyPredictor
from autoprune.latency.targets import LatencyTarget
from autoprune.pruning.prune import Pruner
from autoprune.storage.study_folder import StudyFolder

DEFAULT_TRIALS = 60


@dataclass(frozen=True)
class Workbench:
    """One study's model, data, space, target and settings, loaded and checked.

    Attributes:
        space: Widths on offer; where the user named no space, the shipped one until the predictor
            is known and those on the target's steps from then on.
        base_hash: Hash of the dense model, written into every plan.
        calibration: The images that importance and compensation looked at, if any.
        recalibration_images: Training images that re-estimate batch-norm statistics.
        dense_export: The dense model in the runtime's format, kept for interleaved timing.
        dense_latency: Its calibrated latency; None until it was measured.
        predictor: Latency of any plan; None until it was learned.
    """

    config: StudyConfig
    folder: StudyFolder
    yolo: Any  # ultralytics.YOLO
    base_hash: str
    pruner: Pruner
    space: SearchSpace
    data: DataSummary
    imgsz: tuple[int, int]
    recalibration_images: tuple[Path, ...]
    fine_tune: FineTuneSettings
    device: str
    target: LatencyTarget
    options: RuntimeOptions
    timing: TimingSettings
    calibration: Calibration | None = None
    dense_export: ExportedModel | None = None
    dense_latency: LatencyResult | None = None
    predictor: LatencyPredictor | None = None

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

    def with_dense(self, exported: ExportedModel, latency: LatencyResult) -> Workbench:
        """The same bench once the dense model is measured."""
        return replace(self, dense_export=exported, dense_latency=latency)

    def with_predictor(self, predictor: LatencyPredictor) -> Workbench:
        """The same bench once plans' latencies can be predicted."""
        return replace(self, predictor=predictor)

    def with_space(self, space: SearchSpace) -> Workbench:
        """The same bench with other widths on offer."""
        return replace(self, space=space)

    def predicted_ms(self, plan: PruningPlan) -> float:
        """Latency of a plan by the predictor, in ms."""
        assert self.predictor is not None
        assert self.dense_latency is not None
        kept = np.array([self.pruner.signature(plan)])
        return float(self.predictor.predict(kept)[0]) * self.dense_latency.median_ms

    def measure(self, module: nn.Module, folder: Path, processes: int = 1) -> LatencyResult:
        """Export a model and time it against the dense one in a clean process, or in several.

        Raises:
            TrialFailed: Export or measurement failed.
            TargetUnreachable: The device is gone.
        """
        assert self.dense_export is not None
        assert self.dense_latency is not None
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="export-", dir=folder) as draft:
            exported = self.export(module, Path(draft))
            results = [
                measure_against(
                    self.target,
                    exported,
                    self.dense_export,
                    self.dense_latency,
                    self.options,
                    self.timing,
                )
                for _ in range(processes)
            ]
        return together(results)

    def export(self, module: nn.Module, folder: Path) -> ExportedModel:
        """Write the runtime's file for a module into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"model{self.options.row.suffix}"
        return export_model(module, path, self.imgsz, self.options.runtime)

    def keep_export(self, module: nn.Module, folder: Path) -> None:
        """Leave the runtime's file of a trained model in `folder`, ready to deploy."""
        with tempfile.TemporaryDirectory(prefix="export-", dir=folder) as draft:
            exported = self.export(module, Path(draft))
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
        draft = path.with_suffix(".part")
        self.as_yolo(module).save(draft)
        draft.replace(path)

    def annotated(self, plan: PruningPlan) -> PruningPlan:
        """The plan with everything that makes the same file give the same channels again."""
        return replace(
            plan,
            importance=self.pruner.importance,
            compensate=self.pruner.compensated,
            calibration=self.calibration,
            base=self.base_hash,
        )
