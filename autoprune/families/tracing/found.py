"""Found: what a forward pass tells of channels, before it is put in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from autoprune.families.tracing.ids import ChannelIds
from autoprune.families.tracing.sizes import Attribute, Formula, Rows

Role = Literal["makes", "rides", "reads"]
"""What a tensor's axis does with channels: it makes them, goes along with them, or reads them."""

Place = tuple[str, int]
"""A parameter or buffer, and one of its axes."""

Parts = tuple[tuple[int, ...], ...]
"""Channels that must stay in equal numbers, a tuple for each part; one may stand there often."""


@dataclass(frozen=True)
class UsedSize:
    """A size that the forward pass gives to an operation on a channel axis.

    Attributes:
        formula: How it follows from attributes.
        rows: What stands along that axis.
        where: The operation and its module.
    """

    formula: Formula
    rows: Rows
    where: str


@dataclass
class Found:
    """What a traced forward pass tells.

    Attributes:
        ids: The channels.
        places: Where they stand in parameters and buffers, in the order of their first use.
        balances: What must stay in equal numbers.
        sizes: Attributes that count channels.
        numbers: Attributes that are used as numbers too.
        norms: Convolution -> the batch norm that reads its output.
    """

    ids: ChannelIds = field(default_factory=ChannelIds)
    places: dict[Place, tuple[Tensor, Role]] = field(default_factory=dict)
    balances: list[Parts] = field(default_factory=list)
    sizes: list[UsedSize] = field(default_factory=list)
    numbers: set[Attribute] = field(default_factory=set)
    norms: dict[str, str] = field(default_factory=dict)
