"""SyncBatchNorm, which a training on several GPUs leaves behind, as the batch norm that it is."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn


def without_sync_norms(model: nn.Module) -> nn.Module:
    """The model with a BatchNorm2d of the same numbers for each SyncBatchNorm.

    Returns:
        The model itself where it has none, else a copy.
    """
    if not any(isinstance(part, nn.SyncBatchNorm) for part in model.modules()):
        return model
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, norm in list(parent.named_children()):
            if isinstance(norm, nn.SyncBatchNorm):
                setattr(parent, name, _plain(norm))
    return model


def _plain(norm: Any) -> nn.BatchNorm2d:
    plain = nn.BatchNorm2d(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
    )
    for like in norm.parameters():
        plain.to(like)
    plain.load_state_dict(norm.state_dict())
    return plain.train(norm.training)
