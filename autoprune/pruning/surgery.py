"""Cut channels out of a model's tensors, in place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from autoprune.pruning.groups import AxisSlice, ChannelMap

_Part = tuple[int, int, Tensor]  # offset, width, kept positions


def cut_channels(model: nn.Module, channels: ChannelMap, kept: Mapping[str, Tensor]) -> None:
    """Remove every channel that is not kept, wherever it has a number.

    Args:
        model: Changed in place.
        channels: All channels of the model.
        kept: Group name -> ascending positions that stay.
    """
    parts: dict[AxisSlice, list[_Part]] = defaultdict(list)  # by tensor and axis
    for group in channels.groups:
        part = kept[group.name]
        for each in (*group.producers, *group.riders, *group.consumers):
            whole = AxisSlice(each.module, 0, each.tensor, each.axis)
            parts[whole].append((each.offset, group.width, part))
    modules: dict[str, Any] = dict(model.named_modules())
    halving = [module for module in modules.values() if _says_half(module)]
    with torch.no_grad():
        for axis, of_it in parts.items():
            _cut(modules[axis.module], axis, of_it)
    for name in {axis.module for axis in parts}:
        _note_sizes(modules[name])
    for size in channels.sizes:
        count = size.fixed + sum(len(kept[name]) for name in size.groups)
        if size.position is None:
            setattr(modules[size.module], size.name, count)
        else:
            getattr(modules[size.module], size.name)[size.position] = count
    for block in halving:  # C2 never reads it, exporters do
        block.c = block.cv1.conv.out_channels // 2
    for layer in getattr(model, "model", ()):
        if hasattr(layer, "np"):  # Ultralytics notes the number of parameters
            layer.np = sum(parameter.numel() for parameter in layer.parameters())


def _cut(module: nn.Module, axis: AxisSlice, parts: list[_Part]) -> None:
    old: Tensor = getattr(module, axis.tensor)
    keep = torch.ones(old.shape[axis.axis], dtype=torch.bool)
    for offset, width, kept in parts:
        keep[offset : offset + width] = False
        keep[offset + kept] = True
    new = old.index_select(axis.axis, keep.nonzero().flatten().to(old.device))
    if isinstance(old, nn.Parameter):
        new = nn.Parameter(new, requires_grad=old.requires_grad)
    setattr(module, axis.tensor, new)


def _says_half(module: Any) -> bool:
    """Whether a stock block notes in `c` how wide the halves of its first convolution are."""
    if not type(module).__module__.startswith("ultralytics."):
        return False
    width = getattr(getattr(getattr(module, "cv1", None), "conv", None), "out_channels", None)
    half = getattr(module, "c", None)
    return isinstance(half, int) and width == 2 * half


def _note_sizes(module: Any) -> None:
    """torch's layers note beside their tensors how many channels these have."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        turned = isinstance(module, nn.ConvTranspose2d)
        first, second = module.weight.shape[:2]
        if module.groups > 1:  # depthwise
            multiple = module.out_channels // module.in_channels  # both are still the old ones
            inputs = first if turned else first // multiple
            module.groups = module.in_channels = inputs
            module.out_channels = inputs * multiple
        else:
            module.in_channels, module.out_channels = (first, second) if turned else (second, first)
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.modules.batchnorm._NormBase):
        for tensor in (module.weight, module.running_mean):
            if tensor is not None:
                module.num_features = len(tensor)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = module.weight.numel()
