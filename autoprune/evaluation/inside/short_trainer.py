"""ShortTrainer: trains a few epochs and nothing else, no validation, no files, no rescue of nan."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from ultralytics.models.yolo.obb import OBBTrainer
from ultralytics.models.yolo.pose import PoseTrainer
from ultralytics.models.yolo.segment import SegmentationTrainer
from ultralytics.utils.torch_utils import unwrap_model

from autoprune.errors import TrialFailed
from autoprune.evaluation.class_head import check_classes
from autoprune.evaluation.inside.distill import DistillationLoss
from autoprune.evaluation.inside.trainer import KeepShapeTrainer

Progress = Callable[[int, int], None]

STEADY = 0.5  # share of the training before the learning rate falls

_FASTER_CHANNELS_LAST = (platform.system(), platform.machine()) == ("Linux", "x86_64")
_FUSED_ON_CPU = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)


class ShortTrainer(KeepShapeTrainer):
    """What it leaves behind is in memory: `trained`, `images_seen`, `batch_size`, `epoch`."""

    writes_files = False
    frozen_norms = False
    images_seen = 0
    _images_in_batch = 0
    _batches = 0
    _began = 0.0
    _ends = math.inf

    @property
    def trained(self) -> nn.Module:
        """The moving average of the weights, which Ultralytics hands out as the trained model."""
        module: nn.Module = self.ema.ema
        return module

    def watch(self, on_epoch: Progress | None) -> None:
        """Report finished epochs, and stop at the first loss that is not finite."""

        def after_batch(trainer: ShortTrainer) -> None:
            if not torch.isfinite(trainer.loss):
                raise TrialFailed("nan", f"the loss is not finite in epoch {trainer.epoch + 1}")
            trainer.images_seen += trainer._images_in_batch

        def after_epoch(trainer: ShortTrainer) -> None:
            if on_epoch is not None:
                on_epoch(trainer.epoch + 1, trainer.epochs)

        self.add_callback("on_train_batch_end", after_batch)
        self.add_callback("on_train_epoch_end", after_epoch)

    def anneal(self) -> None:
        """Let the learning rate fall batch by batch from the middle on, also where time ends it.

        Ultralytics lowers it after each epoch: of one epoch, or of one that is cut off, every step
        has the first one's rate, which leaves the weights shaken.
        """

        def at_start(trainer: ShortTrainer) -> None:
            trainer._began = time.monotonic()

        def after_batch(trainer: ShortTrainer) -> None:
            trainer._batches += 1
            share = trainer._batches / (trainer.epochs * len(trainer.train_loader))
            if math.isfinite(trainer._ends):
                passed_s = time.monotonic() - trainer._began
                share = max(share, passed_s / max(1e-9, trainer._ends - trainer._began))
            falling = min(1.0, max(0.0, (share - STEADY) / (1 - STEADY)))
            factor = trainer.lf(falling * trainer.epochs)
            for group in trainer.optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor

        self.add_callback("on_train_start", at_start)
        self.add_callback("on_train_batch_end", after_batch)

    def keep_within(self, seconds: float) -> None:
        """Train fewer epochs than planned where those would take longer; stop then at the latest.

        The learning rate falls by the epochs, and the time, that are left.
        """
        self._ends = time.monotonic() + seconds

        def after_batch(trainer: ShortTrainer) -> None:
            trainer.stop |= time.monotonic() >= trainer._ends

        def after_epoch(trainer: ShortTrainer) -> None:
            done, now = trainer.epoch + 1, time.monotonic()
            per_epoch_s = (now - trainer._began) / done
            affordable = done + max(0, int((trainer._ends - now) / per_epoch_s))
            if affordable < trainer.epochs:
                trainer.epochs = trainer.args.epochs = affordable
                trainer._setup_scheduler()
                trainer.scheduler.last_epoch = trainer.epoch

        self.add_callback("on_train_batch_end", after_batch)
        self.add_callback("on_train_epoch_end", after_epoch)

    def distill_from(self, teacher: nn.Module, share: float) -> None:
        """Blend the detection loss with agreement with a teacher (see DistillationLoss)."""

        def replace_loss(trainer: ShortTrainer) -> None:
            student: Any = unwrap_model(trainer.model)
            student.criterion = DistillationLoss(student, teacher, share)

        self.add_callback("on_train_start", replace_loss)

    def get_model(
        self, cfg: Any = None, weights: nn.Module | None = None, verbose: bool = True
    ) -> nn.Module:
        """Keep the head as well: data of other classes is a mistake here, not a wish.

        Raises:
            ConfigError: Another number of classes, or no weights.
        """
        if weights is not None:
            check_classes(weights, len(self.data["names"]), str(self.args.data))
        model = super().get_model(cfg, weights, verbose)
        return model.to(memory_format=torch.channels_last) if self._channels_last else model

    def build_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """On a CPU, update all weights of a kind in one call where the optimizer can."""
        optimizer = super().build_optimizer(*args, **kwargs)
        if self.device.type == "cpu" and isinstance(optimizer, _FUSED_ON_CPU):
            for group in optimizer.param_groups:
                group["fused"] = True
        return optimizer

    def _model_train(self) -> None:
        """Switch to training; frozen batch norms keep the mean and variance that they have."""
        super()._model_train()
        if self.frozen_norms:
            for part in self.model.modules():
                if isinstance(part, nn.BatchNorm2d):
                    part.eval()

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Count the images on their way to the device."""
        self._images_in_batch = len(batch["img"])
        batch = super().preprocess_batch(batch)
        if self._channels_last:
            batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
        return batch

    @property
    def _channels_last(self) -> bool:
        """Where we measured that it is faster; on CUDA Ultralytics chooses it by itself."""
        return self.device.type == "cpu" and _FASTER_CHANNELS_LAST

    def get_dataloader(
        self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train"
    ) -> Any:
        """Load the training images alone: the validation loader is never read."""
        if mode == "val":
            return self.train_loader
        return super().get_dataloader(dataset_path, batch_size, rank, mode)

    def validate(self) -> tuple[dict[str, float], float]:
        """Skip: the caller validates once, at the end."""
        return {}, 0.0

    def save_model(self) -> bool:
        """Skip: the weights stay in memory."""
        return False

    def save_metrics(self, metrics: dict[str, Any]) -> None:
        """Skip: the record keeps what counts."""

    def final_eval(self) -> None:
        """Check the shapes; there is nothing to evaluate here."""
        self.check_shapes(self.trained, "the fine-tuned model")


class ShortSegmentationTrainer(ShortTrainer, SegmentationTrainer):
    """Of instance segmentation."""


class ShortPoseTrainer(ShortTrainer, PoseTrainer):
    """Of keypoints."""


class ShortOBBTrainer(ShortTrainer, OBBTrainer):
    """Of rotated boxes."""


SHORT: dict[str, type[ShortTrainer]] = {
    "detect": ShortTrainer,
    "segment": ShortSegmentationTrainer,
    "pose": ShortPoseTrainer,
    "obb": ShortOBBTrainer,
}
