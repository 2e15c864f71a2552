"""Reads a model's geometry: every convolution with the channel groups it reads and writes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from autoprune.domain.geometry import ConvGeometry, ModelGeometry
from autoprune.pruning.groups import ChannelGroup
from autoprune.pruning.size import blank, shapes_alone

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def model_geometry(
    model: nn.Module, groups: Sequence[ChannelGroup], imgsz: tuple[int, int]
) -> ModelGeometry:
    """Describe the convolutions that one forward pass at batch 1 runs, in their order.

    The pass runs on torch's meta device: shapes only, no arithmetic. Detect's fixed decoding is
    left out, and so is a branch that is not deployed.

    Args:
        model: The dense Ultralytics detection model; not changed.
        groups: All its channel groups; their order is the order of kept widths everywhere.
        imgsz: Height and width in pixels, multiples of the model's largest stride.
    """
    shadow = shapes_alone(model)
    names = {module: name for name, module in shadow.named_modules()}
    reads, writes = _wiring(groups)
    acts = {
        id(module.conv): type(module.act).__name__
        for module in shadow.modules()
        if isinstance(getattr(module, "conv", None), nn.Conv2d)
        and not isinstance(getattr(module, "act", nn.Identity()), nn.Identity)
    }
    convs: list[ConvGeometry] = []

    def note(conv: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(conv, CONVOLUTIONS)
        name = names[conv]
        read, written = reads[name], writes[name]
        depthwise = conv.groups == conv.in_channels > 1
        convs.append(
            ConvGeometry(
                name=name,
                reads=tuple(position for _, position in sorted(read)),
                fixed_in=conv.in_channels // conv.groups - sum(groups[at].width for _, at in read),
                writes=tuple(position for _, position in sorted(written)),
                fixed_out=conv.out_channels - sum(groups[at].width for _, at in written),
                kernel=_taps(conv),
                stride=(1, 1) if isinstance(conv, nn.ConvTranspose2d) else _pair(conv.stride),
                input_size=_pair(inputs[0].shape[2:]),
                output_size=_pair(output.shape[2:]),
                activated=id(conv) in acts,
                depthwise=depthwise,
            )
        )

    for module in shadow.modules():
        if isinstance(module, CONVOLUTIONS):
            module.register_forward_hook(note)
    with torch.no_grad():
        shadow(blank(shadow, imgsz))
    return ModelGeometry(
        groups=tuple(group.name for group in groups),
        widths=tuple(group.width for group in groups),
        convs=tuple(convs),
        imgsz=imgsz,
        activation=", ".join(sorted(set(acts.values()))),
    )


_Places = dict[str, list[tuple[int, int]]]  # convolution -> (offset, position of the group)


def _wiring(groups: Sequence[ChannelGroup]) -> tuple[_Places, _Places]:
    """What convolutions read and write; a depthwise one writes what rides on its rows."""
    reads: _Places = defaultdict(list)
    writes: _Places = defaultdict(list)
    for position, group in enumerate(groups):
        for consumer in group.consumers:
            reads[consumer.module].append((consumer.offset, position))
        for part in (*group.producers, *group.riders):
            if part.tensor == "weight":
                writes[part.module].append((part.offset, position))
    return reads, writes


def _taps(conv: nn.Conv2d | nn.ConvTranspose2d) -> tuple[int, int]:
    """How many inputs an output pixel sees along height and width."""
    kernel = _pair(conv.kernel_size)
    if not isinstance(conv, nn.ConvTranspose2d):
        return kernel
    high, wide = _pair(conv.stride)
    return math.ceil(kernel[0] / high), math.ceil(kernel[1] / wide)


def _pair(values: Sequence[int]) -> tuple[int, int]:
    first, second = values
    return int(first), int(second)
