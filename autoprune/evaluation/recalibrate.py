"""Re-estimate BatchNorm statistics on training images, without any training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from autoprune.errors import TrialFailed
from autoprune.evaluation.images import input_channels, load_batch


def recalibrate_batchnorm(
    module: nn.Module,
    images: Sequence[Path],
    imgsz: int,
    device: str = "cpu",
    batch: int = 32,
) -> None:
    """Replace every BatchNorm's mean and variance by their average over batches, in place.

    Removing channels shifts the statistics of everything behind them; this restores most of the
    accuracy at the cost of a few forward passes.

    Args:
        module: Detector; its weights stay as they are, its momenta and modes are restored.
        images: Training images, at least two; a smaller last batch joins the one before.
        imgsz: Side of the square pictures in pixels.
        device: Where to compute; the module ends where it began.
        batch: Images per forward pass.

    Raises:
        TrialFailed: ("nan") The statistics are not finite.
    """
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    if not norms:
        return
    if len(images) < 2:
        raise ValueError(f"got {len(images)} images, expected at least 2")
    home, channels = next(module.parameters()).device, input_channels(module)
    modes = {part: part.training for part in module.modules()}
    momenta = [norm.momentum for norm in norms]
    module.to(device).eval()
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a cumulative average, every batch counting the same
            norm.train()
        with torch.no_grad():
            for start, end in _batches(len(images), batch):
                module(load_batch(images[start:end], imgsz, channels).to(device))
    finally:
        module.to(home)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for part, training in modes.items():
            part.training = training
    for norm in norms:
        for statistic in (norm.running_mean, norm.running_var):
            if statistic is not None and not torch.isfinite(statistic).all():
                raise TrialFailed("nan", "BatchNorm statistics are not finite")


def _batches(count: int, size: int) -> list[tuple[int, int]]:
    starts = list(range(0, max(1, count - size + 1), size))
    return list(zip(starts, [*starts[1:], count], strict=True))
