"""Training at a rung: fine-tune a network shortly or longer, and score what comes out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from torch import nn

from autoprune.domain.record import RungScore
from autoprune.errors import TrialFailed
from autoprune.evaluation.fine_tune import fine_tune
from autoprune.evaluation.fine_tune_settings import FineTuneSettings
from autoprune.evaluation.norms_by_batch import works_by_batch
from autoprune.evaluation.validate import validate
from autoprune.search.context.int8 import score_quantized
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.workbench import Informed


def train_and_score(
    bench: Informed,
    module: nn.Module,
    known_map: float,
    folder: Path,
    listener: SearchListener,
    settings: FineTuneSettings,
    rung: int,
    most_s: float | None = None,
    file: str = "model",
) -> tuple[nn.Module, RungScore]:
    """Fine-tune a module, the dense one being the teacher, and validate it.

    Args:
        known_map: The module's mAP50-95 on val, in float.
        file: Name, without suffix, of the INT8 file that is left in `folder` where one counts.
        most_s: Seconds that the fine-tune may take; None for as long as `settings` says.

    Raises:
        TrialFailed: Training failed, or changed a shape.
    """
    began = time.monotonic()
    images = bench.data.selection_images
    frozen_norms = not works_by_batch(
        module,
        bench.data,
        images,
        known_map,
        bench.recalibration_images,
        bench.train_size,
        settings.batch,
        bench.device,
    )
    if most_s is not None:
        most_s -= time.monotonic() - began
    tuned = fine_tune(
        module,
        bench.data.training_yaml(bench.folder.root / "data"),
        bench.train_size,
        settings,
        folder,
        listener.epoch,
        teacher=bench.yolo.model,
        most_s=most_s,
        frozen_norms=frozen_norms,
    )
    _require_same_shapes(module, tuned.module)
    listener.stage("validate")
    metrics = validate(tuned.module, bench.data, images, bench.train_size, bench.device)
    in_float = None
    if bench.quantizes:
        listener.stage("quantize")
        path = folder / f"{file}{bench.options.row.suffix}"
        in_float, metrics = metrics, score_quantized(bench, tuned.module, path, images)
    score = RungScore(
        rung=rung,
        epochs=tuned.epochs,
        images_seen=tuned.images_seen,
        lr0=settings.lr0,
        frozen_norms=frozen_norms,
        seconds=time.monotonic() - began,
        metrics=metrics,
        float_metrics=in_float,
    )
    return tuned.module, score


def _require_same_shapes(before: nn.Module, after: nn.Module) -> None:
    shapes: dict[str, Any] = {key: value.shape for key, value in before.state_dict().items()}
    for key, value in after.state_dict().items():
        if shapes.get(key) != value.shape:
            raise TrialFailed("exception", f"the fine-tune changed the shape of {key}")
