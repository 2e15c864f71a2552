"""A 1x1 convolution before the upsampling, not after it: on a quarter of the pixels.

In the neck a block reads an upsampled map and a finer one, joined. Its first convolution is 1x1, so
it sees one pixel at a time: what it makes of the coarse channels is the same before and after each
pixel is repeated. The two sums are added, and neither the upsampled map nor the join is ever made.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from autoprune.latency.rewrites.names import COARSE_COLUMNS, FINE_COLUMNS, HALVES

_SIDE = 8  # pixels, of the coarse input of a trial run
_DEEPER = 16  # times the head's largest stride: a backbone may go deeper, and shapes cost nothing
_PLACE = ("f", "i", "type")  # what Ultralytics' model keeps in a layer: whom it reads, its index


class Join(nn.Module):
    """Three layers of a detector, each read by the next alone: Upsample, Concat and a block."""

    def __init__(self, layers: tuple[nn.Module, nn.Module, nn.Module], width: int) -> None:
        """Take the layers.

        Args:
            layers: As they follow each other.
            width: Channels of the map that is upsampled.
        """
        super().__init__()
        self.upsample, self.concat, self.block = layers
        self.width = width

    def forward(self, coarse: Tensor, fine: Tensor) -> Any:
        """What the block makes of both."""
        return self.block(self.concat([self.upsample(coarse), fine]))

    def layers(self) -> tuple[nn.Module, nn.Module, nn.Module]:
        """The three."""
        return self.upsample, self.concat, self.block


class Handed(nn.Module):
    """Stands where a layer was, and hands on what it is given."""

    def __init__(self, stock: Any) -> None:
        """Take the place of a stock layer."""
        super().__init__()
        for name in _PLACE:
            setattr(self, name, getattr(stock, name, None))

    def forward(self, given: Any) -> Any:
        """The same."""
        return given


class LateUpsampleConv(nn.Module):
    """A 1x1 Conv of an upsampled map joined with a finer one, given the two apart."""

    def __init__(self, whole: Any, width: int, upsample: nn.Module) -> None:
        """Cut the columns of a Conv whose batch norm is folded; it stays unchanged."""
        super().__init__()
        setattr(self, COARSE_COLUMNS, _columns(whole.conv, slice(0, width), bias=False))
        setattr(self, FINE_COLUMNS, _columns(whole.conv, slice(width, None), bias=True))
        self.upsample, self.act = upsample, whole.act

    def forward(self, maps: list[Tensor]) -> Any:
        """Convolve each map as it is, and repeat the coarse one's result."""
        coarse, fine = maps
        repeated = self.upsample(getattr(self, COARSE_COLUMNS)(coarse))
        return self.act(getattr(self, FINE_COLUMNS)(fine) + repeated)


def joins(model: nn.Module) -> Iterator[tuple[int, Join]]:
    """Where a detector joins an upsampled map with a finer one: first layer's index, the three.

    Nothing for a module that is not built like Ultralytics' detectors.
    """
    layers, save = getattr(model, "model", None), getattr(model, "save", None)
    if not isinstance(layers, nn.Sequential) or save is None:
        return
    places = []
    for index, (up, concat, block) in enumerate(zip(layers, layers[1:], layers[2:], strict=False)):
        sources = getattr(concat, "f", None)
        if (
            isinstance(up, nn.Upsample)
            and isinstance(sources, list)
            and len(sources) == 2
            and sources[0] == -1
            and getattr(block, "f", None) == -1
            and not {getattr(up, "i", None), getattr(concat, "i", None)} & set(save)
        ):
            places.append(index)
    widths = _widths(model, [layers[index] for index in places]) if places else []
    for index, width in zip(places, widths, strict=False):
        yield index, Join((layers[index], layers[index + 1], layers[index + 2]), width)


def put(model: nn.Module, index: int, join: Join) -> None:
    """Set the three layers of a detector from `index` on."""
    holder: Any = model
    for place, layer in enumerate(join.layers(), start=index):
        holder.model[place] = layer


def replacement(layer: nn.Module) -> nn.Module | None:
    """The same join, upsampled late; None for any other layer.

    Left alone where the upsampling does more than repeat pixels, or the block's cv1 is not a 1x1
    convolution (or two, halved) with its normalization folded.
    """
    if not isinstance(layer, Join) or isinstance(layer.concat, Handed):
        return None
    upsample: Any = layer.upsample
    first: Any = getattr(layer.block, "cv1", None)
    halves = [getattr(first, name, None) for name in HALVES]
    parts = [first] if None in halves else halves
    if not _repeats(upsample) or not all(_pointwise(part, layer.width) for part in parts):
        return None
    block: Any = copy.deepcopy(layer.block)
    late = [LateUpsampleConv(part, layer.width, upsample) for part in parts]
    if len(late) == 1:
        block.cv1 = late[0]
    else:
        for name, part in zip(HALVES, late, strict=True):
            setattr(block.cv1, name, part)
    made = (Handed(upsample), Handed(layer.concat), block.requires_grad_(False))
    return Join(made, layer.width)


def input_shapes(layer: nn.Module) -> tuple[tuple[int, ...], ...]:
    """Of a coarse map and a finer one that a join reads."""
    assert isinstance(layer, Join)
    upsample: Any = layer.upsample
    scale = int(upsample.scale_factor)
    first: Any = layer.block.cv1
    conv = (first if hasattr(first, "conv") else getattr(first, HALVES[0])).conv
    coarse = (1, layer.width, _SIDE, _SIDE)
    return coarse, (1, conv.in_channels - layer.width, scale * _SIDE, scale * _SIDE)


def _repeats(upsample: nn.Upsample) -> bool:
    scale: Any = upsample.scale_factor
    return upsample.mode == "nearest" and isinstance(scale, float) and scale.is_integer()


def _pointwise(part: Any, width: int) -> bool:
    conv = getattr(part, "conv", None)
    return (
        type(conv) is nn.Conv2d
        and (conv.kernel_size, conv.stride, conv.padding) == ((1, 1), (1, 1), (0, 0))
        and conv.groups == 1
        and 0 < width < conv.in_channels
        and isinstance(getattr(part, "bn", None), nn.Identity)
        and hasattr(part, "act")
    )


def _columns(whole: nn.Conv2d, columns: slice, bias: bool) -> nn.Conv2d:
    conv = copy.deepcopy(whole)
    conv.weight = nn.Parameter(whole.weight.detach()[:, columns].clone(), requires_grad=False)
    conv.in_channels = conv.weight.shape[1]
    if not bias:
        conv.bias = None
    return conv


def _widths(model: Any, layers: list[nn.Module]) -> list[int]:
    """Channels that each layer reads, from one pass over shapes alone; none if it cannot run."""
    try:
        shadow = copy.deepcopy(model).to("meta").eval()
        widths: dict[Any, int] = {}

        def note(layer: nn.Module, given: tuple[Tensor, ...], _: Tensor) -> None:
            widths[layer.i] = given[0].shape[1]

        for layer in shadow.model:
            if isinstance(layer, nn.Upsample):
                layer.register_forward_hook(note)
        first = next(each for each in shadow.modules() if isinstance(each, nn.Conv2d))
        side = _DEEPER * int(max(torch.as_tensor(model.stride).tolist()))
        shadow.model[-1].training = True  # the head alone: no decoding
        image = torch.empty(
            (1, first.in_channels, side, side), device="meta", dtype=first.weight.dtype
        )
        with torch.no_grad():
            shadow(image)
        return [widths[layer.i] for layer in layers]
    except Exception:  # a user's model raises anything
        return []
