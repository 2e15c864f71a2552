"""What half precision can hold: Ultralytics stores every number of a .pt in 16 bits.

A finite model may hold numbers beyond them, behind a batch norm that brings the channel back: in
16 bits they become infinite, or zero. Such a channel is rescaled, which changes no answer.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

LARGEST = 60_000.0  # a little below the largest half, 65504
_ROUNDED = 1e-3  # of a row's largest number; rounding to 11 bits loses half of that


def too_large(model: nn.Module) -> str | None:
    """Name of the first tensor with a number too large for 16 bits; None if there is none."""
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not _within(tensor):
            return str(name)
    return None


def fits_half(model: nn.Module) -> bool:
    """Whether no number of a model is too large for 16 bits, and no channel's weights vanish."""
    convs = (part for part in model.modules() if isinstance(part, nn.Conv2d))
    return too_large(model) is None and not any(_vanishes(part.weight).any() for part in convs)


def rescaled_to_half(model: nn.Module) -> nn.Module:
    """The same function with weights that 16 bits can hold, where that can be.

    In each convolution that has a batch norm behind it, a channel that is too large or too small
    gets weights of at most 1, and its norm the statistics and the scale that make up for it.

    Args:
        model: A DetectionModel; unchanged.

    Returns:
        The model itself if all of it fits, else a copy, equal but for rounding in float32. What
        has no norm behind it stays as it is: see `fits_half`.
    """
    if fits_half(model):
        return model
    model = copy.deepcopy(model)
    with torch.no_grad():
        for block in model.modules():
            conv, norm = getattr(block, "conv", None), getattr(block, "bn", None)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and norm.affine:
                _rescale(conv, norm)
    return model


def _rescale(conv: nn.Conv2d, norm: Any) -> None:
    """y = scale * (w x - mean) / sqrt(variance + eps) + shift, for w, mean times a factor."""
    if norm.running_mean is None or conv.bias is not None:
        return
    beyond = _vanishes(conv.weight)
    for tensor in (conv.weight, norm.weight, norm.running_mean, norm.running_var):
        beyond |= (tensor.flatten(1) if tensor.ndim > 1 else tensor[:, None]).abs().amax(
            1
        ) > LARGEST
    if not beyond.any():
        return
    largest = conv.weight.double().flatten(1).abs().amax(1)
    factor = torch.where(beyond & (largest > 0), 1 / largest, torch.ones_like(largest))
    spread = norm.running_var.double() + norm.eps
    variance = spread * factor.square() - norm.eps
    odd = beyond & ((variance < 0) | (variance > LARGEST))
    variance = torch.where(odd, torch.ones_like(variance), variance)
    scale = norm.weight.double() / spread.sqrt() / factor * (variance + norm.eps).sqrt()
    conv.weight.copy_(conv.weight.double() * factor[:, None, None, None])
    norm.running_mean.copy_(torch.where(beyond, norm.running_mean * factor, norm.running_mean))
    norm.running_var.copy_(torch.where(beyond, variance, norm.running_var.double()))
    norm.weight.copy_(torch.where(beyond, scale, norm.weight.double()))


def _vanishes(weight: Tensor) -> Tensor:
    """Rows of a weight that lose more in 16 bits than the last digits of their largest number."""
    rows = weight.detach().float().flatten(1)
    lost = (rows - rows.half().float()).abs().amax(1)
    return lost > _ROUNDED * rows.abs().amax(1)


def _within(tensor: Tensor) -> bool:
    return not tensor.numel() or float(tensor.detach().abs().max()) <= LARGEST
