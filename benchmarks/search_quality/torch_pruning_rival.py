"""A YOLOv8 network pruned by torch-pruning: uniform ratio, L2 norm, coupled layers together."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn
from ultralytics.nn.modules import C2f


class SplitC2f(nn.Module):
    """A C2f whose first convolution is two: its halves then may lose different channels."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        half = block.cv1.conv.out_channels // 2
        self.first, self.second = (_rows(block.cv1, at, half) for at in (0, half))
        self.m, self.cv2 = block.m, block.cv2
        self.i, self.f = block.i, block.f  # its place in the graph
        self.type = block.type  # type: ignore[method-assign]  # Ultralytics names it so

    def forward(self, features: Tensor) -> Tensor:
        """As C2f's."""
        parts = [self.first(features), self.second(features)]
        for bottleneck in self.m:
            parts.append(bottleneck(parts[-1]))
        joined: Tensor = self.cv2(torch.cat(parts, 1))
        return joined


def prune_uniformly(
    model: nn.Module, imgsz: tuple[int, int], ratio: float, round_to: int
) -> nn.Module:
    """A pruned copy of a DetectionModel, its last 1x1 convolutions keeping their outputs.

    Args:
        model: The dense model; unchanged.
        imgsz: Height and width in pixels.
        ratio: Fraction of channels removed from every group of coupled layers.
        round_to: Kept widths are rounded to a multiple of this.
    """
    pruned: Any = copy.deepcopy(model).float().eval()
    for index, layer in enumerate(pruned.model):
        if type(layer) is C2f:
            pruned.model[index] = SplitC2f(layer)
    for parameter in pruned.parameters():
        parameter.requires_grad_(True)
    detect = pruned.model[-1]
    detect.training = True  # the head alone: raw outputs, no decoding to trace
    torch_pruning.pruner.BasePruner(
        pruned,
        torch.zeros(1, 3, *imgsz),
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=ratio,
        round_to=round_to,
        ignored_layers=[detect.dfl, *(tower[-1] for tower in (*detect.cv2, *detect.cv3))],
        output_transform=lambda output: list(_tensors(output)),
    ).step()
    detect.training = False
    module: nn.Module = pruned
    return module


def _rows(conv: Any, start: int, count: int) -> Any:
    """A Conv block that computes `count` of another's outputs, from `start` on."""
    part = copy.deepcopy(conv)
    part.conv.weight = nn.Parameter(conv.conv.weight[start : start + count].detach().clone())
    part.conv.out_channels = part.bn.num_features = count
    for name in ("weight", "bias"):
        values = getattr(conv.bn, name)[start : start + count].detach().clone()
        setattr(part.bn, name, nn.Parameter(values))
    for name in ("running_mean", "running_var"):
        setattr(part.bn, name, getattr(conv.bn, name)[start : start + count].clone())
    return part


def _tensors(output: Any) -> Iterable[Tensor]:
    """All tensors that carry a gradient, however nested."""
    if isinstance(output, Tensor):
        yield output
    elif output is not None:
        for part in output.values() if isinstance(output, dict) else output:
            yield from _tensors(part)
