"""Rules of the operations that have weights: what makes channels, rides along, and reads them."""

from __future__ import annotations

import torch
from torch import Tensor

from autoprune.families.tracing.call import Call
from autoprune.families.tracing.ids import FIXED
from autoprune.families.tracing.tracer import Rule, Tracer


def convolution(tracer: Tracer, call: Call) -> Tensor | None:
    """Dense: reads its columns, makes its rows. Depthwise: its rows ride on what it is given."""
    given, weight, bias = _operands(tracer, call)
    groups = int(call.argument(6, "groups", 1))
    if given is None or not tracer.is_layers(weight):
        return None
    tracer.note_maker(weight, call.outs[0])
    read = tracer.channels(given, 1)
    multiple = weight.shape[0] // groups
    if groups == 1:
        tracer.place(weight, 1, read, "reads")
        made = tracer.made(weight, 0)
    elif groups == len(read):
        made = read.repeat_interleave(multiple)
        tracer.place(weight, 0, made, "rides")
    else:
        tracer.freeze(read, "read by a grouped convolution")
        made = torch.full((weight.shape[0],), FIXED)
    tracer.place(bias, 0, made, "rides")
    return made[None, :, None, None]


def transposed_convolution(tracer: Tracer, call: Call) -> Tensor | None:
    """As `convolution`, its weight's axes in the other order."""
    given, weight, bias = _operands(tracer, call)
    groups = int(call.argument(6, "groups", 1))
    if given is None or not tracer.is_layers(weight):
        return None
    tracer.note_maker(weight, call.outs[0])
    read = tracer.channels(given, 1)
    if groups == 1:
        tracer.place(weight, 0, read, "reads")
        made = tracer.made(weight, 1)
    elif groups == len(read) and weight.shape[1] == 1:
        tracer.place(weight, 0, read, "rides")
        made = read
    else:
        return None
    tracer.place(bias, 0, made, "rides")
    return made[None, :, None, None]


def batch_norm(tracer: Tracer, call: Call) -> Tensor | None:
    """One number of each of its vectors for every channel."""
    given = tracer.shadow(call.argument(0, "input"))
    if given is None:
        return None
    tracer.note_norm(call.argument(0, "input"), call.argument(1, "running_mean"))
    numbers = tracer.channels(given, 1)
    for position, key in enumerate(("running_mean", "running_var", "weight", "bias"), 1):
        tracer.place(call.argument(position, key), 0, numbers, "rides")
    return given


def prelu(tracer: Tracer, call: Call) -> Tensor | None:
    """One slope for all, or one for every channel."""
    given, slopes = tracer.shadow(call.argument(0, "input")), call.argument(1, "weight")
    if given is None:
        return None
    if slopes.numel() > 1:
        tracer.place(slopes, 0, tracer.channels(given, 1), "rides")
    return given


def _operands(tracer: Tracer, call: Call) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """The input's shadow, the weight and the bias."""
    given = tracer.shadow(call.argument(0, "input"))
    return given, call.argument(1, "weight"), call.argument(2, "bias")


LAYERS: dict[str, Rule] = {
    "conv2d": convolution,
    "conv_transpose2d": transposed_convolution,
    "batch_norm": batch_norm,
    "prelu": prelu,
}
