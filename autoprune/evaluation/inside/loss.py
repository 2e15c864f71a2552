"""Ultralytics' detection loss, asked without a trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from autoprune.evaluation.inside.settings import default_namespace


def make_loss_ready(model: nn.Module) -> None:
    """Give a DetectionModel the default gains and let it build its loss anew, in place."""
    detector: Any = model
    detector.args, detector.criterion = default_namespace(), None


def detection_loss(model: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Box, class and distribution loss of one labelled batch, summed; a scalar."""
    detector: Any = model
    loss: torch.Tensor = detector.loss(batch)[0].sum()
    return loss
