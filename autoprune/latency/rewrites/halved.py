"""A block's cv1 as two convolutions of half its width, which need no Split.

C2f, C2 and blocks built like them convolve, and read the two halves of the result apart. A Split
leaves ONNX Runtime's blocked layout (44 conversions in yolov8n). The two convolutions have the same
weights, row by row, so every channel stays the same sum.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from autoprune.latency.rewrites.names import HALVES

_SIDE = 8  # pixels, of the input of a trial run


class _Halves:
    """What the block takes for one tensor: it can be split in two, and nothing else."""

    def __init__(self, first: Tensor, second: Tensor) -> None:
        self._halves = (first, second)

    def chunk(self, parts: int, dim: int) -> tuple[Tensor, Tensor]:
        if (parts, dim) != (2, 1):
            raise ValueError("only two halves of the channels are here")
        return self._halves

    def split(self, sizes: tuple[int, int], dim: int) -> tuple[Tensor, Tensor]:
        if (*sizes, dim) != (*(half.shape[1] for half in self._halves), 1):
            raise ValueError("only two halves of the channels are here")
        return self._halves


class HalvedConv(nn.Module):
    """Ultralytics' Conv (convolution and activation) as two of half its width."""

    def __init__(self, whole: nn.Module) -> None:
        """Cut a Conv whose batch norm is folded; it stays unchanged."""
        super().__init__()
        for name, part in zip(HALVES, (0, 1), strict=True):
            setattr(self, name, _half(whole, part))

    def forward(self, image: Tensor) -> _Halves:
        """Convolve twice; the block splits the result as it splits a tensor."""
        first, second = (getattr(self, name)(image) for name in HALVES)
        return _Halves(first, second)


def replacement(block: nn.Module) -> nn.Module | None:
    """The block with its cv1 halved; None for blocks that do not halve it.

    Such a block says with `c` how wide a half is. A cv1 of another width than twice that, or whose
    normalization is not folded, stays whole.
    """
    whole: Any = getattr(block, "cv1", None)
    conv, width = getattr(whole, "conv", None), getattr(block, "c", None)
    if (
        type(conv) is not nn.Conv2d
        or conv.groups != 1
        or not isinstance(width, int)
        or conv.out_channels != 2 * width
        or not isinstance(getattr(whole, "bn", None), nn.Identity)
    ):
        return None
    halved = copy.deepcopy(block)
    halved.cv1 = HalvedConv(whole)
    return halved.requires_grad_(False)


def input_shapes(block: nn.Module) -> tuple[tuple[int, ...], ...]:
    """Of an image that the block reads."""
    whole: Any = block.cv1
    return ((1, whole.conv.in_channels, _SIDE, _SIDE),)


def _half(whole: nn.Module, part: int) -> nn.Module:
    half = copy.deepcopy(whole)
    conv = half.conv
    assert isinstance(conv, nn.Conv2d)
    width = conv.out_channels // 2
    rows = slice(part * width, (part + 1) * width)
    conv.weight = nn.Parameter(conv.weight.detach()[rows].clone(), requires_grad=False)
    if conv.bias is not None:
        conv.bias = nn.Parameter(conv.bias.detach()[rows].clone(), requires_grad=False)
    conv.out_channels = width
    return half
