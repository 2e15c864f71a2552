"""Rules of the operations that compute without weights: element by element, sums, products."""

from __future__ import annotations

import torch
from torch import Tensor

from autoprune.families.tracing.call import Call
from autoprune.families.tracing.ids import FIXED, NONE
from autoprune.families.tracing.shadows import together, varying
from autoprune.families.tracing.tracer import Rule, Tracer, nothing

ALONE = (
    "silu", "relu", "gelu", "sigmoid", "tanh", "hardswish", "leaky_relu", "mish", "elu", "selu",
    "celu", "relu6", "hardtanh", "clamp", "clip", "dropout", "contiguous", "clone", "detach",
    "float", "half", "double", "bfloat16", "to", "type", "type_as", "exp", "log", "neg",
    "softplus", "softsign", "logsigmoid", "abs", "sqrt", "rsqrt", "square", "pow", "__pow__",
    "reciprocal", "identity", "__neg__", "hardsigmoid", "nan_to_num", "data", "alias",
)  # fmt: skip
"""Every element by itself."""

TWO = (
    "add", "sub", "mul", "div", "__add__", "__radd__", "__iadd__", "__sub__", "__rsub__",
    "__isub__", "__mul__", "__rmul__", "__imul__", "__truediv__", "__rtruediv__",
    "__itruediv__", "true_divide", "maximum", "minimum",
)  # fmt: skip
"""Elements of two tensors at equal places; in place with a `_` behind."""

OVER_PIXELS = (
    "max_pool2d", "_max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d",
    "_adaptive_max_pool2d", "interpolate", "upsample", "upsample_nearest", "upsample_bilinear",
    "lp_pool2d",
)  # fmt: skip
"""Every channel of an image by itself."""

SUMS = (
    "sum", "mean", "amax", "amin", "logsumexp",
)  # fmt: skip
"""Along some axes."""


def alone(tracer: Tracer, call: Call) -> Tensor | None:
    """The first operand's channels; with another tensor's numbers they are not known."""
    more = any(tensor.numel() > 1 for tensor in call.given[1:])
    return None if more and call.name != "type_as" else tracer.shadow(call.argument(0, "input"))


def two(tracer: Tracer, call: Call) -> Tensor | None:
    """Channels that meet go together; a constant that differs from channel to channel fixes."""
    first, second = call.argument(0, "input"), call.argument(1, "other")
    (out,) = call.outs
    left, right = together(_as(out, first, second, tracer), _as(out, second, first, tracer))
    tracer.unite(left, right)
    return torch.maximum(left, right)


def _as(out: Tensor, one: object, other: object, tracer: Tracer) -> Tensor:
    """The shadow of one operand, expanded to the result's shape.

    One number for all channels of the other operand, as a spatial gate's, is no channel of theirs.
    """
    shadow, theirs = tracer.shadow(one), tracer.shadow(other)
    if not isinstance(one, Tensor) or not one.ndim:
        return nothing(out.shape)
    changing = (
        [axis - out.ndim for axis in varying(theirs.expand(out.shape))]
        if theirs is not None
        else []
    )
    wide = any(-axis <= one.ndim and one.shape[axis] > 1 for axis in changing)
    if shadow is None:
        return torch.tensor(FIXED).expand(out.shape) if wide else nothing(out.shape)
    return nothing(out.shape) if changing and not wide else shadow.expand(out.shape)


def over_pixels(tracer: Tracer, call: Call) -> Tensor | None:
    """Of (n, c, h, w); with indices besides they are not known."""
    given = tracer.shadow(call.argument(0, "input"))
    if given is None or given.ndim != 4 or len(call.outs) != 1:
        return None
    return tracer.channels(given, 1)[None, :, None, None]


def softmax(tracer: Tracer, call: Call) -> Tensor | None:
    """Along an axis where no channels lie."""
    given, axis = tracer.shadow(call.argument(0, "input")), call.argument(1, "dim")
    if given is None or not isinstance(axis, int) or axis % given.ndim in varying(given):
        return None
    return given


def sums(tracer: Tracer, call: Call) -> Tensor | None:
    """Along axes without channels; or along one that stacks maps, whose channels then meet."""
    given, axes = tracer.shadow(call.argument(0, "input")), call.argument(1, "dim")
    if given is None or axes is None or len(call.outs) != 1:
        return None
    axes = [axes] if isinstance(axes, int) else list(axes)
    axes, changing = [axis % given.ndim for axis in axes], varying(given)
    met = [axis for axis in axes if axis in changing]
    if met and (len(met) > 1 or len(changing) < 2):
        return None  # a sum over channels
    result = given
    for axis in sorted(axes, reverse=True):
        first = result.narrow(axis, 0, 1)
        if axis in met:
            tracer.unite(first.expand_as(result), result)
        kept = call.outs[0].ndim == given.ndim
        result = first if kept else first.squeeze(axis)
    return result


def matmul(tracer: Tracer, call: Call) -> Tensor | None:
    """A sum over channels lets those of both sides go together; what it gives has none.

    Where one side has no channels, as an attention's weights, those of the other one pass.
    """
    operands = call.argument(0, "input"), call.argument(1, "other", call.argument(1, "mat2"))
    first, second = (_or_fixed(tracer, operand) for operand in operands)
    if min(first.ndim, second.ndim) < 2:
        return None
    left = {axis - first.ndim for axis in varying(first)}
    right = {axis - second.ndim for axis in varying(second)}
    if -1 in left and -2 in right and -2 not in left and -1 not in right:
        tracer.unite(first[..., 0, :], second[..., :, 0])
        return torch.tensor(NONE)
    (out,) = call.outs
    if -1 in left or -2 in right:
        return None
    if bool((second == NONE).all()):
        return first[..., :1].expand(out.shape)
    if bool((first == NONE).all()):
        return second[..., :1, :].expand(out.shape)
    return None


def attention(tracer: Tracer, call: Call) -> Tensor | None:
    """Fused: queries meet keys, the values' channels pass."""
    query, key, value = (
        tracer.shadow(call.argument(position, name))
        for position, name in enumerate(("query", "key", "value"))
    )
    if query is None or key is None or value is None or call.argument(3, "attn_mask") is not None:
        return None
    for each in (query, key, value):
        if each.ndim - 2 in varying(each):  # tokens are channels
            return None
    tracer.unite(query[..., 0, :], key[..., 0, :])
    if call.kwargs.get("scale") is None:  # then it is made of their number
        tracer.freeze(query, "their number scales an attention")
    return value[..., :1, :].expand(call.outs[0].shape)


def _or_fixed(tracer: Tracer, tensor: Tensor) -> Tensor:
    shadow = tracer.shadow(tensor)
    return torch.tensor(FIXED).expand(tensor.shape) if shadow is None else shadow


ARITHMETIC: dict[str, Rule] = {
    **dict.fromkeys((*ALONE, *(f"{name}_" for name in ALONE)), alone),
    **dict.fromkeys((*TWO, *(f"{name}_" for name in TWO)), two),
    **dict.fromkeys(OVER_PIXELS, over_pixels),
    **dict.fromkeys(SUMS, sums),
    **dict.fromkeys(("softmax", "log_softmax"), softmax),
    **dict.fromkeys(("matmul", "__matmul__", "bmm"), matmul),
    "scaled_dot_product_attention": attention,
}
