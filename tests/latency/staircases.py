"""A small network's geometry and an invented target whose law of latency is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from autoprune.domain.geometry import ConvGeometry, ModelGeometry

Array = np.ndarray[Any, Any]

_WIDTHS = (32, 64, 64, 128, 128, 96, 64)


def chain() -> ModelGeometry:
    """Seven convolutions in a row, halving twice, one reading two groups, and a fixed last."""
    convs, side = [], 64
    for number, _width in enumerate(_WIDTHS):
        stride = 2 if number in (0, 3) else 1
        kernel = 1 if number in (2, 5) else 3
        reads = () if number == 0 else (1, 4) if number == 5 else (number - 1,)
        convs.append(_conv(f"c{number}", reads, (number,), kernel, stride, side))
        side //= stride
    last = _conv("last", (len(_WIDTHS) - 1,), (), 1, 1, side, fixed_out=20)
    groups = tuple(f"g{number}" for number in range(len(_WIDTHS)))
    return ModelGeometry(groups, _WIDTHS, (*convs, last), (64, 64))


def _conv(
    name: str,
    reads: tuple[int, ...],
    writes: tuple[int, ...],
    kernel: int,
    stride: int,
    side: int,
    fixed_out: int = 0,
) -> ConvGeometry:
    made = side // stride
    return ConvGeometry(
        name=name,
        reads=reads,
        fixed_in=0 if reads else 3,
        writes=writes,
        fixed_out=fixed_out,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        input_size=(side, side),
        output_size=(made, made),
        activated=not fixed_out,
    )


def law_ms(geometry: ModelGeometry, kept: Array, block: int, align: int) -> Array:
    """Invented latency in ms, written out conv by conv: blocks, a slow path, traffic, a constant.

    Pointwise convolutions cost 30 % more per multiplication, misaligned ones 60 %, and each
    convolution deviates by some percent of its own.
    """
    total = np.full(len(kept), 0.2)
    for number, conv in enumerate(geometry.convs):
        given = kept[:, list(conv.reads)].sum(axis=1) + conv.fixed_in
        made = kept[:, list(conv.writes)].sum(axis=1) + conv.fixed_out
        pixels = conv.output_size[0] * conv.output_size[1]
        rate = (1.3 if conv.kernel == (1, 1) else 1.0) * (1 + 0.02 * (-1) ** number)
        fast = (given % align == 0) | (given < block)
        padded_in = np.where(given < block, given, -(-given // block) * block)
        padded = padded_in * -(-made // block) * block
        operations = np.where(fast, padded, 1.6 * given * made) * conv.kernel[0] ** 2 * pixels
        total += rate * operations / 2e7 + made * pixels / 3e6
    return total


def random_kept(geometry: ModelGeometry, plans: int, seed: int) -> Array:
    """Kept channels (plans, groups): a third multiples of 16, a third of 4, a third any."""
    dice = np.random.default_rng(seed)
    widths = np.array(geometry.widths)
    steps = np.array((16, 4, 1))[np.arange(plans) % 3][:, None]
    share = dice.uniform(0.2, 1, (plans, 1)) + dice.normal(0, 0.15, (plans, len(widths)))
    kept = np.ceil(np.clip(share, 0.1, 1) * widths / steps) * steps
    return np.minimum(kept, widths).astype(int)
