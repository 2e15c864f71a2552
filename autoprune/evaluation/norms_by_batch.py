"""Whether a network still works while its batch norms go by one batch at a time."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from autoprune.evaluation.dataset import DataSummary
from autoprune.evaluation.recalibrate import recalibrate_batchnorm
from autoprune.evaluation.validate import validate

WORKS = 0.9  # of its mAP is left


def works_by_batch(
    module: nn.Module,
    data: DataSummary,
    selection: Sequence[Path],
    known_map: float,
    images: Sequence[Path],
    imgsz: int,
    batch: int,
    device: str = "cpu",
) -> bool:
    """Whether training steps, which normalize by their batch, train the network that is deployed.

    They train another one where the mean and variance of so few images are far from those of all:
    the loss goes down and the mAP with it. Seen on a pruned YOLO26n, of whose mAP a third is left
    with the statistics of batches of 8, and all with those of 128
    (`benchmarks/claims/frozen_norms.py`).

    Args:
        module: Detector; not changed.
        data: Its data.
        selection: Images to validate on.
        known_map: Its mAP50-95 on them.
        images: Training images, of which the statistics are taken; for fewer than two it works.
        imgsz: Side of the square pictures in pixels.
        batch: Images in a training step.
        device: Where to compute.

    Raises:
        TrialFailed: ("nan") The statistics are not finite.
    """
    if len(images) < 2:
        return True
    by_batch = copy.deepcopy(module)
    recalibrate_batchnorm(by_batch, images, imgsz, device, min(batch, len(images)))
    found = validate(by_batch, data, selection, imgsz, device)
    return found.map50_95 >= WORKS * known_map
