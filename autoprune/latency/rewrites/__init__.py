"""Rewrites of a module before its export: the same numbers from a graph that runs faster.

Each row replaces one kind of layer by another that computes the same function. The .pt keeps the
stock layer; only the copy that is exported is rewritten.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from autoprune.latency.rewrites import dfl, halved

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
        input_shape: A layer it applies to -> shape of an input to try both on.
    """

    name: str
    summary: str
    replacement: Callable[[nn.Module], nn.Module | None]
    input_shape: Callable[[nn.Module], tuple[int, ...]]


REWRITES: tuple[Rewrite, ...] = (
    Rewrite(
        name="dfl",
        summary="DFL's softmax and 1x1 convolution -> exp, one matrix product and one division.",
        replacement=dfl.replacement,
        input_shape=dfl.input_shape,
    ),
    Rewrite(
        name="halved",
        summary="A convolution whose output is split in two -> two convolutions of half its width.",
        replacement=halved.replacement,
        input_shape=halved.input_shape,
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
        kept = rewrite_in_place(layer, rewrites)
        for rewrite in rewrites:
            replacement = rewrite.replacement(kept)
            if replacement is not None and _agree(kept, replacement, rewrite.input_shape(kept)):
                kept = replacement
        if kept is not layer:
            setattr(model, name, kept)
    return model


def _agree(layer: nn.Module, replacement: nn.Module, shape: tuple[int, ...]) -> bool:
    dice = torch.Generator().manual_seed(_SEED)
    dtype = next((each.dtype for each in layer.parameters()), torch.float32)
    image = torch.randn(shape, generator=dice, dtype=torch.float64).to(dtype)
    try:
        with torch.no_grad():
            before, after = layer(image.clone()), replacement(image.clone())
    except Exception:  # a user's layer that reads its parts in another way raises anything
        return False
    return (
        isinstance(before, Tensor)
        and isinstance(after, Tensor)
        and before.shape == after.shape
        and torch.allclose(after, before, rtol=_RELATIVE, atol=_ABSOLUTE)
    )
