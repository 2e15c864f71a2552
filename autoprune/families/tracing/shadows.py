"""Shadows: tensors of channel numbers, and what their axes hold."""

from __future__ import annotations

import torch
from torch import Tensor

from autoprune.families.tracing.ids import FIXED, NONE
from autoprune.families.tracing.sizes import Rows


def varying(shadow: Tensor) -> list[int]:
    """The axes along which channels differ."""
    small = compact(shadow)
    return [
        axis
        for axis in range(small.ndim)
        if small.shape[axis] > 1 and bool((small != small.narrow(axis, 0, 1)).any())
    ]


def compact(shadow: Tensor) -> Tensor:
    """The same, but one position for all along axes that are merely expanded."""
    for axis in range(shadow.ndim):
        if shadow.stride(axis) == 0 and shadow.shape[axis] > 1:
            shadow = shadow.narrow(axis, 0, 1)
    return shadow


def together(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Two of one shape, with one position for all along axes along which both are expanded."""
    for axis in range(first.ndim):
        if first.shape[axis] > 1 and first.stride(axis) == second.stride(axis) == 0:
            first, second = first.narrow(axis, 0, 1), second.narrow(axis, 0, 1)
    return first, second


def channels_along(shadow: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """One channel for each position of an axis.

    Returns:
        The channels, FIXED where they differ along another axis; and all channels of such places.
    """
    small = compact(shadow.movedim(axis, 0))
    rows = small.reshape(small.shape[0], -1)
    rows = rows.expand(shadow.shape[axis], rows.shape[1])
    numbers = rows.amax(dim=1)
    mixed = ~((rows == numbers[:, None]) | (rows == NONE)).all(dim=1)
    return torch.where(mixed, torch.tensor(FIXED), numbers), rows[mixed].flatten()


def line(shadow: Tensor, axis: int, changing: list[int]) -> Rows:
    """What stands at each position of an axis, one of those along which channels differ.

    Along the innermost one it is a single channel; along an outer one all those within, as of an
    attention's heads: the position is there as long as one of them is.
    """
    small = compact(shadow)
    if axis == changing[-1]:
        for other in reversed(range(small.ndim)):
            if other != axis:
                small = small.select(other, 0)
        return tuple((number,) for number in small.tolist())
    return tuple(tuple(torch.unique(part).tolist()) for part in small.unbind(axis))
