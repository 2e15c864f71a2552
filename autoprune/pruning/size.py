"""Parameters and multiply-accumulates of a detection model."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from autoprune.domain.record import ModelSize


def model_size(model: nn.Module, imgsz: tuple[int, int]) -> ModelSize:
    """Count parameters, and the MACs of every convolution in one forward pass at batch 1.

    The pass runs on torch's meta device: shapes only, no arithmetic.

    Args:
        model: An Ultralytics detection model; not changed.
        imgsz: Height and width in pixels, multiples of the model's largest stride.
    """
    params = sum(parameter.numel() for parameter in model.parameters())
    shadow: Any = copy.deepcopy(model).to("meta").eval()
    shadow.model[
        -1
    ].training = True  # the head alone: raw outputs, no anchors to compute without values
    macs = 0

    def count(conv: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        assert isinstance(conv, nn.Conv2d)
        kernel = conv.kernel_size[0] * conv.kernel_size[1]
        macs += output.numel() * conv.in_channels // conv.groups * kernel

    for module in shadow.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    first = next(shadow.parameters())
    channels = shadow.model[0].conv.in_channels
    with torch.no_grad():
        shadow(torch.empty(1, channels, *imgsz, device="meta", dtype=first.dtype))
    return ModelSize(params=params, macs=macs)
