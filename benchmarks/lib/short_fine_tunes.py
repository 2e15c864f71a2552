"""Pruned networks through the search's short fine-tune, outside of a search."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

from autoprune.domain.plan import PruningPlan
from autoprune.evaluation.checkpoint import load_yolo, trained_image_size
from autoprune.evaluation.dataset import inspect_data
from autoprune.evaluation.fine_tune import FineTuned, FineTuneSettings, fine_tune
from autoprune.evaluation.model_task import model_task
from autoprune.evaluation.quiet import quiet
from autoprune.evaluation.training_loss import sample_images
from autoprune.evaluation.validate import validate
from autoprune.pruning.prune import Pruner, uniform_plan
from autoprune.search.context.calibration_images import calibration_images
from autoprune.search.context.prepare import RECALIBRATION_IMAGES
from autoprune.search.learn.calibration import calibrate

DEEP_FROM = 6  # layer index: the plan "deep" takes 0.15 before it and 0.5 from it on
DEEP = (0.15, 0.5)
DEEP_NAME = f"{DEEP[0]} before layer {DEEP_FROM}, {DEEP[1]} after"


def deep_plan(widths: dict[int, tuple[int, ...]]) -> PruningPlan:
    """Little of the early layers, much of the late ones."""
    early, late = (uniform_plan(widths, ratio).prune_ratios for ratio in DEEP)
    return PruningPlan({at: early[at] if at < DEEP_FROM else late[at] for at in widths})


class Bench:
    """A dense model, its data, pruning by obs with compensation, and scores."""

    def __init__(self, model: Path, data: Path, scratch: Path) -> None:
        self.scratch = scratch
        self.yolo = load_yolo(model)
        self.data = inspect_data(data, task=model_task(self.yolo.model).name)
        self.imgsz = max(trained_image_size(self.yolo))
        images = calibration_images(self.imgsz)
        known = calibrate(self.yolo.model, self.data, self.imgsz, images)
        self.pruner = Pruner(self.yolo.model, "obs", known, compensated=True)
        self.images = sample_images(self.data, RECALIBRATION_IMAGES, seed=0)
        self.dense = self.map_of(self.yolo.model, "val")

    def map_of(self, module: nn.Module, split: str) -> float:
        """mAP50-95."""
        images = self.data.val if split == "val" else self.data.test
        with quiet(self.scratch / "log.txt"):
            return round(validate(module, self.data, images, self.imgsz).map50_95, 4)

    def scores(self, module: nn.Module) -> dict[str, float]:
        """mAP50-95 on val and test."""
        return {split: self.map_of(module, split) for split in ("val", "test")}

    def trained(
        self,
        pruned: nn.Module,
        untrained: float,
        seed: int,
        epochs: int | None = None,
        frozen_norms: bool = False,
    ) -> FineTuned:
        """The search's short fine-tune, of a network that has `untrained` on val."""
        settings = replace(FineTuneSettings(), seed=seed).after_losing(1 - untrained / self.dense)
        settings = replace(settings, epochs=epochs or settings.epochs)
        data = self.data.training_yaml(self.scratch / "data")
        with quiet(self.scratch / "log.txt"):
            return fine_tune(
                pruned, data, self.imgsz, settings, self.scratch, frozen_norms=frozen_norms
            )
