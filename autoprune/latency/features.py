"""How much work of which kind a plan gives the target: the quantities latency is a sum of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from autoprune.geometry import ConvGeometry, ModelGeometry

Array = np.ndarray[Any, Any]

# Kinds of work of one convolution. "fast" is the runtime's blocked kernel, "slow" the plain one
# it falls back to for input widths that are not a multiple of `Staircase.align`.
WORK = (
    "fast macs",  # both widths padded to whole blocks
    "fast sweeps",  # the same with outputs padded to four blocks: passes over the input
    "fast out",  # elements written
    "fast in",  # elements read
    "fast weights",
    "slow macs",  # nothing padded
    "slow out",
    "slow in",
    "slow columns",  # elements of the unfolded input
)
FAST = tuple(name.startswith("fast") for name in WORK)
_SWEEP = 4  # blocks; kernels keep this many blocks of outputs in registers


@dataclass(frozen=True)
class Staircase:
    """How the target's convolutions treat widths; found by measurement.

    Attributes:
        block: Output channels are padded up to a multiple of it; 1 for none.
        pads_inputs: Whether input channels are padded as well.
        align: Input widths of at least one block must be a multiple of it, or the convolution
            takes the slow path; 1 if there is no such path.
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
    taps, pixels_in, pixels_out = _sizes(geometry)
    block = staircase.block
    padded = _padded(outputs, block)
    swept = _padded(outputs, _SWEEP * block) if block > 1 else padded
    fast: Array = (np.fmod(inputs, staircase.align) == 0) | (inputs < block)
    given = np.where(inputs < block, inputs, _padded(inputs, block))
    given = given if staircase.pads_inputs else inputs
    on_fast, on_slow = fast.astype(np.float64), (~fast).astype(np.float64)
    filters = on_fast * given * taps
    written, read = outputs * pixels_out, inputs * pixels_in
    return np.stack(
        (
            filters * padded * pixels_out,
            filters * swept * pixels_out,
            on_fast * padded * pixels_out,
            on_fast * read,
            filters * padded,
            on_slow * inputs * taps * written,
            on_slow * written,
            on_slow * read,
            on_slow * inputs * taps * pixels_out,
        )
    )


def shared_costs(geometry: ModelGeometry) -> Array:
    """Which work is assumed to cost the same, before single convolutions may deviate.

    Returns:
        Masks, shape (costs, kinds of work, convs): one non-negative price is fitted for each.
    """
    convs = geometry.convs
    classes = np.array([_class_of(conv) for conv in convs])
    masks = []
    for kind in ("fast macs", "fast sweeps", "slow macs"):
        masks += [_mask((kind,), classes == which) for which in np.unique(classes)]
    activated = np.array([conv.activated for conv in convs])
    joined = np.array([len(conv.reads) > 1 for conv in convs])
    split = np.array([len(conv.writes) > 1 for conv in convs])
    everywhere = np.ones(len(convs), dtype=bool)
    masks += [
        _mask(("fast out", "slow out"), activated),
        _mask(("fast out", "slow out"), split),  # one copy per half
        _mask(("fast in", "slow in"), everywhere),
        _mask(("fast in", "slow in"), joined),  # copied by a concatenation
        _mask(("slow in",), everywhere),
        _mask(("fast weights",), everywhere),
        _mask(("slow columns",), everywhere),
    ]
    return np.stack(masks)


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
    fast = tuple(name for name, on_fast in zip(WORK, FAST, strict=True) if on_fast)
    slow = tuple(name for name in WORK if name not in fast)
    families, singles = (
        np.stack([_mask(path, convs) for path in (fast, slow) for convs in chosen])
        for chosen in (alike, alone)
    )
    return families, singles


def _class_of(conv: ConvGeometry) -> int:
    """Pointwise, unit stride, strided: runtimes have a kernel for each."""
    if conv.kernel == (1, 1):
        return 0
    return 1 if conv.stride == (1, 1) else 2


def _mask(kinds: tuple[str, ...], convs: Array) -> Array:
    chosen = np.array([name in kinds for name in WORK])
    return np.outer(chosen, convs).astype(np.float64)


def _padded(channels: Array, block: int) -> Array:
    padded: Array = np.ceil(channels / block) * block
    return padded


def _sizes(geometry: ModelGeometry) -> tuple[Array, Array, Array]:
    """Per convolution: kernel elements, input pixels, output pixels."""
    rows = [
        (
            conv.kernel[0] * conv.kernel[1],
            conv.input_size[0] * conv.input_size[1],
            conv.output_size[0] * conv.output_size[1],
        )
        for conv in geometry.convs
    ]
    taps, given, made = np.array(rows, dtype=np.float64).T
    return taps, given, made
