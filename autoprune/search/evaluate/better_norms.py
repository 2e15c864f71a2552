"""After a fine-tune: whose batch-norm statistics, those of training or those of plain images."""

from __future__ import annotations

import copy
from contextlib import suppress

from torch import nn

from autoprune.domain.record import DetectionMetrics
from autoprune.errors import TrialFailed
from autoprune.evaluation.recalibrate import recalibrate_batchnorm
from autoprune.evaluation.validate import validate
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.workbench import Informed


def with_better_norms(
    bench: Informed, trained: nn.Module, listener: SearchListener
) -> tuple[nn.Module, DetectionMetrics, bool]:
    """Validate a trained module as it is and with its statistics measured again, on val.

    A short training leaves running averages over small batches of augmented images. On YOLO26n
    they were so far off that the plans that had lost least looked ruined; on YOLOv8n they are
    better than measured ones (`python benchmarks/claims/measured_norms.py`).

    Returns:
        The better module, its metrics on val, and whether its statistics were measured again; a
        tie goes to the module as it is.

    Raises:
        TrialFailed: As `validate`, of the module as it is.
    """
    data, val = bench.data, bench.data.selection_images
    listener.stage("validate")
    as_trained = validate(trained, data, val, bench.train_size, bench.device)
    images = bench.recalibration_images
    if len(images) > 1:  # one has no variance
        again = copy.deepcopy(trained)
        with suppress(TrialFailed):  # not finite
            recalibrate_batchnorm(again, images, bench.train_size, bench.device)
            measured_again = validate(again, data, val, bench.train_size, bench.device)
            if measured_again.map50_95 > as_trained.map50_95:
                return again, measured_again, True
    return trained, as_trained, False
