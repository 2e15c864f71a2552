"""Cut channels out of a model's tensors, in place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from autoprune.pruning.groups import ChannelGroup

_Part = tuple[int, int, Tensor]  # offset, width, kept positions


def cut_channels(
    model: nn.Module, groups: Sequence[ChannelGroup], kept: Mapping[str, Tensor]
) -> None:
    """Remove every channel that is not kept, from its producers and its consumers.

    Args:
        model: Changed in place.
        groups: All channel groups of the model.
        kept: Group name -> ascending positions that stay.
    """
    outputs: dict[str, list[_Part]] = defaultdict(list)
    inputs: dict[str, list[_Part]] = defaultdict(list)
    for group in groups:
        part = kept[group.name]
        for producer in group.producers:
            outputs[producer.module].append((producer.offset, group.width, part))
        for consumer in group.consumers:
            inputs[consumer.module].append((consumer.offset, group.width, part))
    modules = dict(model.named_modules())
    with torch.no_grad():
        for name, parts in outputs.items():
            block: Any = modules[name]
            _cut_rows(block.conv, parts)
            norm = getattr(block, "bn", None)
            if isinstance(norm, nn.BatchNorm2d):
                _cut_norm(norm, parts)
            act = getattr(block, "act", None)
            if isinstance(act, nn.PReLU) and act.num_parameters > 1:
                _cut_slopes(act, parts)
        for name, parts in inputs.items():
            conv = modules[name]
            assert isinstance(conv, nn.Conv2d)
            _cut_columns(conv, parts)
    _refresh_bookkeeping(model)


def _positions(width: int, parts: list[_Part], device: torch.device) -> Tensor:
    """Positions that stay on an axis of `width` channels; those of no group stay."""
    keep = torch.ones(width, dtype=torch.bool)
    for offset, part_width, kept in parts:
        keep[offset : offset + part_width] = False
        keep[offset + kept] = True
    return keep.nonzero().flatten().to(device)


def _cut_rows(conv: nn.Conv2d, parts: list[_Part]) -> None:
    keep = _positions(conv.out_channels, parts, conv.weight.device)
    conv.weight = _parameter(conv.weight, 0, keep)
    if conv.bias is not None:
        conv.bias = _parameter(conv.bias, 0, keep)
    conv.out_channels = len(keep)


def _cut_columns(conv: nn.Conv2d, parts: list[_Part]) -> None:
    keep = _positions(conv.in_channels, parts, conv.weight.device)
    conv.weight = _parameter(conv.weight, 1, keep)
    conv.in_channels = len(keep)


def _cut_norm(norm: nn.BatchNorm2d, parts: list[_Part]) -> None:
    keep = _positions(norm.num_features, parts, norm.weight.device)
    norm.weight = _parameter(norm.weight, 0, keep)
    norm.bias = _parameter(norm.bias, 0, keep)
    for name in ("running_mean", "running_var"):
        statistic = getattr(norm, name)
        if statistic is not None:
            setattr(norm, name, statistic.index_select(0, keep))
    norm.num_features = len(keep)


def _cut_slopes(act: nn.PReLU, parts: list[_Part]) -> None:
    keep = _positions(act.num_parameters, parts, act.weight.device)
    act.weight = _parameter(act.weight, 0, keep)
    act.num_parameters = len(keep)


def _parameter(old: Tensor, axis: int, keep: Tensor) -> nn.Parameter:
    return nn.Parameter(old.index_select(axis, keep), requires_grad=old.requires_grad)


def _refresh_bookkeeping(model: Any) -> None:
    """Ultralytics notes sizes beside the tensors: C2f's half width and parameter counts."""
    for layer in model.model:
        if hasattr(layer, "cv1") and hasattr(layer, "c") and isinstance(layer.c, int):
            layer.c = layer.cv1.conv.out_channels // 2
        if hasattr(layer, "np"):
            layer.np = sum(parameter.numel() for parameter in layer.parameters())
