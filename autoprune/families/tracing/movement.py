"""Rules of the operations that move data: they are carried out on the shadows too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from autoprune.families.tracing.call import Call
from autoprune.families.tracing.ids import FIXED
from autoprune.families.tracing.shadows import line, varying
from autoprune.families.tracing.tracer import Rule, Tracer

SAME = (
    "cat", "concat", "stack", "flatten", "permute", "transpose", "swapaxes", "t", "unsqueeze",
    "squeeze", "movedim", "moveaxis", "T", "mT",
)  # fmt: skip
"""They need nothing but to be carried out."""


def same(tracer: Tracer, call: Call) -> list[Tensor]:
    """Carried out."""
    return _checked(tracer, _carried_out(tracer, call))


def reshaped(tracer: Tracer, call: Call) -> list[Tensor] | None:
    """To a shape whose sizes must follow the channels."""
    asked: Sequence[Any] = call.args[1:] or (call.kwargs.get("shape", call.kwargs.get("size")),)
    if isinstance(asked[0], torch.dtype):
        return None
    sizes: Sequence[Any] = asked[0] if isinstance(asked[0], (list, tuple)) else asked
    source = tracer.shadow(call.argument(0, "input"))
    assert source is not None
    moved = source.reshape(call.outs[0].shape)
    for axis, size in enumerate(sizes):
        tracer.takes_size(moved, axis, size, call.name)
    return _checked(tracer, [moved])


def pieces(tracer: Tracer, call: Call) -> list[Tensor] | None:
    """Of equal size: as many channels stay in each."""
    source, found = tracer.shadow(call.argument(0, "input")), _carried_out(tracer, call)
    axis = int(call.argument(2, "dim", 0))
    if source is not None and axis % source.ndim in varying(source):
        axis %= source.ndim
        if call.name == "chunk" and len({piece.shape[axis] for piece in found}) > 1:
            return None
        asked = call.argument(1, "split_size_or_sections", call.argument(1, "split_size"))
        sizes = asked if isinstance(asked, (list, tuple)) else [asked] * len(found)
        alike: dict[int, list[Tensor]] = defaultdict(list)
        for piece, size in zip(found, sizes, strict=False):
            alike[piece.shape[axis]].append(_held(piece, axis))
            if call.name != "chunk":
                tracer.takes_size(piece, axis, size, call.name)
        for parts in alike.values():
            if len(parts) > 1:
                tracer.balance(parts)
    return _checked(tracer, found)


def padded(tracer: Tracer, call: Call) -> Tensor | None:
    """Along axes without channels: what is added is a part of each channel's map."""
    source, widths = tracer.shadow(call.argument(0, "input")), list(call.argument(1, "pad"))
    assert source is not None
    changed = {source.ndim - 1 - place // 2 for place, width in enumerate(widths) if width}
    if changed & set(varying(source)):
        return None
    for axis in changed:
        source = source.narrow(axis, 0, 1)
    return source


def indexed(tracer: Tracer, call: Call) -> list[Tensor] | None:
    """By numbers known beforehand; an axis of channels is taken whole."""
    given = call.args[1] if isinstance(call.args[1], tuple) else (call.args[1],)
    source = tracer.shadow(call.args[0])
    if source is None or not all(_is_plain(each) for each in given):
        return None
    named = sum(each is not None and each is not Ellipsis for each in given)
    axes = iter(range(source.ndim))
    for each in given:
        if each is Ellipsis:
            for _ in range(source.ndim - named):
                next(axes)
        elif each is not None and next(axes) in varying(source) and each != slice(None):
            return None
    return _checked(tracer, [source[call.args[1]]])


def _is_plain(index: Any) -> bool:
    return index is None or index is Ellipsis or isinstance(index, (int, slice))


def turned(tracer: Tracer, call: Call) -> list[Tensor] | None:
    """Rolled or flipped, along axes without channels."""
    source = tracer.shadow(call.argument(0, "input"))
    axes = call.argument(2 if call.name == "roll" else 1, "dims")
    if source is None or axes is None:
        return None
    axes = [axes] if isinstance(axes, int) else axes
    if {axis % source.ndim for axis in axes} & set(varying(source)):
        return None
    return _carried_out(tracer, call)


def stretched(tracer: Tracer, call: Call) -> list[Tensor] | None:
    """Parts and repetitions, along axes without channels."""
    source, found = tracer.shadow(call.argument(0, "input")), _carried_out(tracer, call)
    assert source is not None
    before = found[0].ndim - source.ndim  # axes that come before the old ones
    for axis in varying(source):
        if before < 0 or found[0].shape[axis + before] != source.shape[axis]:
            return None
        if call.name == "expand" and _expanded_to(call)[axis + before] != -1:
            return None  # a size that would have to follow
    return _checked(tracer, found)


def _expanded_to(call: Call) -> Sequence[Any]:
    sizes = call.args[1:] or (call.kwargs["size"],)
    found: Sequence[Any] = sizes[0] if isinstance(sizes[0], (list, tuple)) else sizes
    return found


def taken_apart(tracer: Tracer, call: Call) -> list[Tensor] | None:
    """One or all positions of an axis without channels."""
    source, axis = tracer.shadow(call.argument(0, "input")), int(call.argument(1, "dim", 0))
    if source is None or axis % source.ndim in varying(source):
        return None
    return _checked(tracer, _carried_out(tracer, call))


def _carried_out(tracer: Tracer, call: Call) -> list[Tensor]:
    args = [_ghost(tracer, each) for each in call.args]
    kwargs = {key: _ghost(tracer, each) for key, each in call.kwargs.items()}
    found = call.func(*args, **kwargs)
    return list(found) if isinstance(found, (list, tuple)) else [found]


def _ghost(tracer: Tracer, value: Any) -> Any:
    """An argument with shadows for tensors; a constant's channels are fixed."""
    if isinstance(value, (list, tuple)) and any(isinstance(each, Tensor) for each in value):
        return [_ghost(tracer, each) for each in value]
    if not isinstance(value, Tensor):
        return value
    shadow = tracer.shadow(value)
    return torch.full(value.shape, FIXED) if shadow is None else shadow


def _held(piece: Tensor, axis: int) -> Tensor:
    """The channels of a piece, as often as they stand along the axis."""
    changing = varying(piece)
    if axis not in changing:
        return piece.flatten()[:1]
    return torch.tensor([number for row in line(piece, axis, changing) for number in row])


def _checked(tracer: Tracer, shadows: list[Tensor]) -> list[Tensor]:
    """What a cut leaves must be rectangular: equally many channels in every row."""
    for shadow in shadows:
        for axis in varying(shadow)[:-1]:
            tracer.balance([torch.unique(part) for part in shadow.unbind(axis)])
    return shadows


MOVEMENT: dict[str, Rule] = {
    **dict.fromkeys(SAME, same),
    **dict.fromkeys(("view", "reshape"), reshaped),
    **dict.fromkeys(("chunk", "split", "tensor_split", "split_with_sizes"), pieces),
    **dict.fromkeys(("narrow", "expand", "expand_as", "repeat"), stretched),
    **dict.fromkeys(("select", "unbind"), taken_apart),
    **dict.fromkeys(("roll", "flip"), turned),
    "pad": padded,
    "__getitem__": indexed,
}
