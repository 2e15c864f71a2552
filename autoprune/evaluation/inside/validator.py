"""FiniteValidator: Ultralytics' detection validator, except that nan is an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from ultralytics.models.yolo.detect import DetectionValidator

from autoprune.errors import TrialFailed
from autoprune.evaluation.inside.own_labels import own_labels


class FiniteValidator(DetectionValidator):
    """Stops at the first nan: Ultralytics would report it as a plausible mAP of 0."""

    def build_dataset(self, *args: Any, **kwargs: Any) -> Any:
        """As Ultralytics does, with our reader of labels."""
        with own_labels():
            return super().build_dataset(*args, **kwargs)

    def postprocess(self, preds: Any) -> Any:
        """Look at the decoded predictions before they are filtered.

        Raises:
            TrialFailed: ("nan") One is not finite.
        """
        decoded = preds[0] if isinstance(preds, (list, tuple)) else preds
        if not torch.isfinite(decoded).all():
            raise TrialFailed("nan", "the model's predictions are not finite")
        return super().postprocess(preds)


def box_scores(
    model: nn.Module, folder: Path, settings: dict[str, Any], at_start: Callable[..., None]
) -> tuple[float, float, int]:
    """Validate a DetectionModel; Ultralytics fuses the layers of the module it is given.

    Args:
        model: Used up.
        folder: Receives what Ultralytics writes.
        settings: Its settings of a validation.
        at_start: Called once the device and the number of threads are chosen.

    Returns:
        mAP50, mAP50-95, and images seen, without those that Ultralytics finds corrupt.

    Raises:
        TrialFailed: ("nan") A prediction is not finite.
    """
    validator = FiniteValidator(save_dir=folder, args=settings)
    validator.add_callback("on_val_start", at_start)
    validator(model=model)
    box = validator.metrics.box
    return float(box.map50), float(box.map), int(validator.seen)
