"""Rewrites of a module before its export: the same numbers from a graph that runs faster.

Each row replaces one kind of layer by another that computes the same function. The .pt keeps the
stock layer; only the copy that is exported is rewritten.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from autoprune.latency.rewrites import dfl, halved, late_upsample

__all__ = ["REWRITES", "Rewrite", "rewrite_in_place"]

_SEED = 0
_RELATIVE, _ABSOLUTE = 1e-4, 1e-5  # float32 rounding of two orders of summation stays far below


@dataclass(frozen=True)
class Rewrite:
    """One exact rewrite.

    Attributes:
        name: Of the rewrite.
        summary: What it replaces by what, in one line.
        replacement: A layer -> what to put in its place; None where the rewrite does not apply.
            The layer itself stays unchanged.
        input_shapes: A layer it applies to -> shapes of the inputs to try both on.
    """

    name: str
    summary: str
    replacement: Callable[[nn.Module], nn.Module | None]
    input_shapes: Callable[[nn.Module], tuple[tuple[int, ...], ...]]


REWRITES: tuple[Rewrite, ...] = (
    Rewrite(
        name="dfl",
        summary="DFL's softmax and 1x1 convolution -> exp, one matrix product and one division.",
        replacement=dfl.replacement,
        input_shapes=dfl.input_shapes,
    ),
    Rewrite(
        name="halved",
        summary="A convolution whose output is split in two -> two convolutions of half its width.",
        replacement=halved.replacement,
        input_shapes=halved.input_shapes,
    ),
    Rewrite(
        name="late upsample",
        summary="A 1x1 convolution of an upsampled map -> of the map, its result upsampled.",
        replacement=late_upsample.replacement,
        input_shapes=late_upsample.input_shapes,
    ),
)


def rewrite_in_place(model: nn.Module, rewrites: Sequence[Rewrite] = REWRITES) -> nn.Module:
    """Rewrite every layer inside a model that a rewrite applies to.

    Layers are known by their attributes, so a user's own class may look like one and compute
    something else. Each replacement is therefore run once beside its layer on a random input, and
    taken only where the two agree.

    Args:
        model: In eval mode, batch norms folded.
        rewrites: The rewrites to make.

    Returns:
        The same model.
    """
    for name, layer in list(model.named_children()):
        kept = _replaced(rewrite_in_place(layer, rewrites), rewrites)
        if kept is not layer:
            setattr(model, name, kept)
    for index, join in list(late_upsample.joins(model)):
        kept = _replaced(join, rewrites)
        if isinstance(kept, late_upsample.Join):
            late_upsample.put(model, index, kept)
    return model


def _replaced(layer: nn.Module, rewrites: Sequence[Rewrite]) -> nn.Module:
    for rewrite in rewrites:
        replacement = rewrite.replacement(layer)
        if replacement is not None and _agree(layer, replacement, rewrite.input_shapes(layer)):
            layer = replacement
    return layer


def _agree(layer: nn.Module, replacement: nn.Module, shapes: tuple[tuple[int, ...], ...]) -> bool:
    dice = torch.Generator().manual_seed(_SEED)
    dtype = next((each.dtype for each in layer.parameters()), torch.float32)
    images = [torch.randn(each, generator=dice, dtype=torch.float64).to(dtype) for each in shapes]
    try:
        with torch.no_grad():
            before = layer(*(each.clone() for each in images))
            after = replacement(*(each.clone() for each in images))
    except Exception:  # a user's layer that reads its parts in another way raises anything
        return False
    return (
        isinstance(before, Tensor)
        and isinstance(after, Tensor)
        and before.shape == after.shape
        and torch.allclose(after, before, rtol=_RELATIVE, atol=_ABSOLUTE)
    )
