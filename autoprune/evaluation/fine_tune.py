"""Train a pruned model for a few epochs and hand it back in memory."""

from __future__ import annotations

import copy
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autoprune.errors import TrialFailed
from autoprune.evaluation.device import choose_device, idle_cores
from autoprune.evaluation.fine_tune_settings import FineTuneSettings, settings_from
from autoprune.evaluation.inside.short_trainer import SHORT, Progress, ShortTrainer
from autoprune.evaluation.model_task import model_task
from autoprune.evaluation.watchdog import watched

__all__ = ["FineTuneSettings", "FineTuned", "choose_device", "fine_tune", "settings_from"]

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "alloc_failed", "unable to allocate")


@dataclass(frozen=True)
class FineTuned:
    """A fine-tuned model and what it took.

    Attributes:
        module: DetectionModel, float32, on the CPU, in eval mode; as wide as the one given.
        epochs: Epochs trained.
        images_seen: Training images, each counted as often as it was used.
        seconds: Wall time.
        batch: Images per step; smaller than asked for when memory ran short.
    """

    module: nn.Module
    epochs: int
    images_seen: int
    seconds: float
    batch: int


def fine_tune(
    model: nn.Module,
    data: Path,
    imgsz: int,
    settings: FineTuneSettings,
    folder: Path,
    on_epoch: Progress | None = None,
    teacher: nn.Module | None = None,
    most_s: float | None = None,
    frozen_norms: bool = False,
) -> FineTuned:
    """Train on the data's training split, without validating.

    Args:
        model: A DetectionModel, or a YOLO around one; it stays unchanged.
        data: A data YAML such as `DataSummary.training_yaml` writes; its val split is not read.
        imgsz: Side of the square pictures in pixels.
        settings: How long and how.
        folder: Gets a run folder, removed before returning.
        on_epoch: Called with (epochs done, epochs in all).
        teacher: The dense DetectionModel, to distill from as `settings.distill` says.
        most_s: Seconds it may take: fewer epochs are trained to keep them, at the least one batch.
        frozen_norms: Whether batch norms keep their mean and variance; see `works_by_batch`.

    Raises:
        TrialFailed: ("nan") The loss or a weight is not finite. ("oom") Memory ran out.
            ("timeout") It hung.
        ConfigError: The model's classes are not the data's.
    """
    # a YOLO wraps the DetectionModel, whose own `.model` is the list of layers
    module: Any = model if isinstance(model.model, nn.Sequential) else model.model
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="fine-tune-", dir=folder) as run,
        idle_cores() as use_idle_cores,
    ):
        try:
            trainer = _trainer(module, data, imgsz, settings, Path(run))
            for moment in ("on_train_start", "on_train_batch_end"):
                trainer.add_callback(moment, use_idle_cores)
            trainer.watch(on_epoch)
            trainer.anneal()
            trainer.frozen_norms = frozen_norms
            if most_s is not None:
                trainer.keep_within(started + most_s - time.monotonic())
            if teacher is not None and settings.distill:
                trainer.distill_from(teacher, settings.distill)
            with watched("the fine-tune"):
                trainer.train()
        except MemoryError:
            raise TrialFailed("oom", "out of memory while training") from None
        except RuntimeError as error:
            text = " ".join(str(error).split())
            if any(sign in text.lower() for sign in _OUT_OF_MEMORY):
                raise TrialFailed("oom", text[:200]) from None
            raise
    return FineTuned(
        module=_result(trainer.trained, module),
        epochs=trainer.epoch + 1,
        images_seen=trainer.images_seen,
        seconds=time.monotonic() - started,
        batch=trainer.batch_size,
    )


def _trainer(
    module: nn.Module,
    data: Path,
    imgsz: int,
    settings: FineTuneSettings,
    run: Path,
) -> ShortTrainer:
    task = model_task(module).name
    trainer = SHORT[task](
        overrides={
            **settings.as_train_args(),
            "task": task,
            "mode": "train",
            "model": "pruned.pt",  # a name to show; the network is handed over below
            "data": str(data),
            "imgsz": imgsz,
            "device": choose_device(settings.device).removeprefix("cuda:"),
            "project": str(run.resolve()),  # a relative one would go below runs/detect
            "name": "run",
            "exist_ok": True,
            "val": False,
            "save": False,
            "plots": False,
            "patience": 0,
            "verbose": False,
            "cls_remap": False,  # classes are compared by position; a renamed one is the same
        }
    )
    trainer.model = trainer.get_model(weights=module)
    return trainer


def _result(trained: nn.Module, original: nn.Module) -> nn.Module:
    model: Any = copy.deepcopy(trained).float().cpu().eval()
    model = model.to(memory_format=torch.contiguous_format)
    model.criterion = None
    # not the training's own arguments: they name the run folder, which is gone
    model.args = copy.deepcopy(getattr(original, "args", {}))
    for name, tensor in model.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise TrialFailed("nan", f"{name} is not finite after training")
    return model  # type: ignore[no-any-return]
