"""How much work of which kind a plan gives the target: the quantities latency is a sum of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoprune.domain.geometry import ConvGeometry, ModelGeometry

Array = np.ndarray[Any, Any]

# Kinds of work of one convolution, in channels. "fast" is the runtime's blocked kernel, "slow" the
# plain one it falls back to for input widths that are not a multiple of `Staircase.align`. A
# convolution takes one of the two; the work of the other is 0. Maps that a convolution reads joined
# stay in blocks only where each of them fills its own.
WORK = (
    "fast products",  # inputs x outputs, both padded to whole blocks
    "fast outputs",  # padded
    "fast inputs",
    "slow products",  # nothing padded
    "slow outputs",
    "slow inputs",
    "plain joins",  # inputs that are joined outside of the blocked layout
)
_FAST = ("fast products", "fast outputs", "fast inputs")
_SLOW = ("slow products", "slow outputs", "slow inputs")


@dataclass(frozen=True)
class Staircase:
    """How the target's convolutions treat widths; found by measurement.

    Attributes:
        block: Output channels are padded up to a multiple of it; 1 for none.
        pads_inputs: Whether input channels are padded as well.
        align: Input widths of at least one block must be a multiple of it, or the convolution
            takes the slow path; 1 if there is no such path. A depthwise one takes it unless its
            channels fill whole blocks.
    """

    block: int
    pads_inputs: bool
    align: int


CANDIDATES = tuple(
    Staircase(block, pads_inputs, align)
    for block in (1, 4, 8, 16, 32)
    for pads_inputs in ((False, True) if block > 1 else (False,))
    for align in (1, 2, 4, 8)
)


def work(geometry: ModelGeometry, staircase: Staircase, kept: Array) -> Array:
    """Every kind of work of every convolution.

    Args:
        geometry: The dense model's convolutions.
        staircase: The target's habits.
        kept: Kept channels per group, shape (plans, groups).

    Returns:
        Shape (kinds of work, plans, convs), in the order of WORK.
    """
    inputs, outputs = geometry.channels(kept)
    fast: Array = (_padded(inputs, staircase.align) == inputs) | (inputs < staircase.block)
    deep = geometry.depthwise
    fast[:, deep] = (_padded(outputs, staircase.block) == outputs)[:, deep]
    slow = ~fast
    parts = geometry.written_parts
    padded = parts * _padded(outputs / parts, staircase.block)  # exported as one convolution each
    given = inputs
    if staircase.pads_inputs:
        given = np.where(inputs < staircase.block, inputs, _padded(inputs, staircase.block))
    done = np.empty((len(WORK), *inputs.shape))
    np.multiply(padded, fast, out=done[1])
    np.multiply(given, done[1], out=done[0])
    read = np.where(deep, outputs, inputs)
    np.multiply(read, fast, out=done[2])
    np.multiply(outputs, slow, out=done[4])
    np.multiply(inputs, done[4], out=done[3])
    np.multiply(read, slow, out=done[5])
    odd = geometry.reading(_padded(kept, staircase.block) != kept)
    np.multiply(inputs, geometry.joined & odd, out=done[6])
    return done


def shared_costs(geometry: ModelGeometry) -> Array:
    """What a unit of work amounts to in operations and memory traffic, which have one price each.

    Returns:
        Shape (prices, kinds of work, convs): multiplications, elements written, read and so on
        per unit of work. One non-negative price is fitted for each, the same for all convolutions
        before single ones may deviate.
    """
    convs = geometry.convs
    taps = np.array([math.prod(conv.kernel) for conv in convs], dtype=np.float64)
    pixels_in = np.array([math.prod(conv.input_size) for conv in convs], dtype=np.float64)
    pixels_out = np.array([math.prod(conv.output_size) for conv in convs], dtype=np.float64)
    activated = np.array([conv.activated for conv in convs])
    joined = geometry.joined
    split = np.array([len(conv.writes) > 1 for conv in convs])
    deep = geometry.depthwise
    own = (
        (_costs(("fast products", "slow products"), taps * pixels_out * deep),) if any(deep) else ()
    )
    return np.stack(
        (
            _costs(("fast products",), taps * pixels_out),  # multiplications
            _costs(("slow products",), taps * pixels_out),
            _costs(("fast products",), taps),  # weights read
            _costs(("fast outputs", "slow outputs"), pixels_out * activated),
            _costs(("fast outputs", "slow outputs"), pixels_out * split),  # a copy per half
            _costs(("fast inputs", "slow inputs"), pixels_in),
            _costs(("fast inputs", "slow inputs"), pixels_in * joined),  # copied to join them
            _costs(("slow inputs",), pixels_in),  # to and from the blocked layout
            _costs(("slow inputs",), taps * pixels_out),  # unfolded for a matrix product
            _costs(("plain joins",), pixels_in),  # every part out of the blocked layout, and back
            *own,  # a multiplication costs more where each input is used once
        )
    )


def deviations(geometry: ModelGeometry) -> tuple[Array, Array]:
    """Along which lines convolutions may cost more or less than the shared price.

    Returns:
        Masks of shape (families, kinds of work, convs) for convolutions of one kind and
        resolution, and of shape (2 * convs, kinds of work, convs) for each alone; both apart for
        the fast and the slow path.
    """
    keys = [(_class_of(conv), conv.output_size) for conv in geometry.convs]
    alike = [np.array([key == other for other in keys]) for key in dict.fromkeys(keys)]
    alone = list(np.eye(len(keys), dtype=bool))
    families, singles = (
        np.stack([_costs(path, convs) for path in (_FAST, _SLOW) for convs in chosen])
        for chosen in (alike, alone)
    )
    return families, singles


def _class_of(conv: ConvGeometry) -> int:
    """Depthwise, pointwise, unit stride, strided: runtimes have a kernel for each."""
    if conv.depthwise:
        return 3
    if conv.kernel == (1, 1):
        return 0
    return 1 if conv.stride == (1, 1) else 2


def _costs(kinds: tuple[str, ...], per_conv: Array) -> Array:
    """`per_conv` for the kinds named and 0 for the others, shape (kinds of work, convs)."""
    return np.outer([name in kinds for name in WORK], per_conv).astype(np.float64)


def _padded(channels: Array, block: int) -> Array:
    padded: Array = np.ceil(channels * (1 / block))  # exact: blocks are powers of two
    padded *= block
    return padded
