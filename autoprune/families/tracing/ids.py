"""ChannelIds: a number for every channel, which of them go together, and which must stay."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

FIXED, NONE = 0, -1
"""Instead of a channel's number: one that must stay, and a place that belongs to no channel."""


class ChannelIds:
    """Union-find over channel numbers; the lowest number stands for its set.

    Attributes:
        reasons: Number -> why it must stay, each reason once, in the order they were found.
    """

    def __init__(self) -> None:
        self._parent = [FIXED]
        self.reasons: dict[int, dict[str, None]] = {}

    def new(self, count: int) -> Tensor:
        """Numbers for channels that nobody knew before, int64, shape (count,)."""
        start = len(self._parent)
        self._parent.extend(range(start, start + count))
        return torch.arange(start, start + count)

    def find(self, number: int) -> int:
        """The number that stands for its set; FIXED and NONE stand for themselves."""
        if number <= FIXED:
            return number
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number

    def all_found(self) -> list[int]:
        """What `find` answers for every number, in their order."""
        return [self.find(number) for number in range(len(self._parent))]

    def unite(self, first: Tensor, second: Tensor, why: str) -> None:
        """Channels at equal places go together; what meets a fixed one must stay.

        Args:
            first, second: Numbers of equal shape. A place that is NONE in either is passed over.
            why: Said of channels that meet a fixed one.
        """
        told = (first != NONE) & (second != NONE) & (first != second)
        count = len(self._parent)
        pairs = torch.unique(first[told] * count + second[told])  # of rows it takes far longer
        for one, other in (divmod(pair, count) for pair in pairs.tolist()):
            if FIXED in (one, other):
                self.freeze((one, other), why)
            else:
                low, high = sorted((self.find(one), self.find(other)))
                self._parent[high] = low

    def freeze(self, numbers: Iterable[int] | Tensor, why: str) -> None:
        """Channels that must stay."""
        if isinstance(numbers, Tensor):
            numbers = torch.unique(numbers).tolist()
        for number in numbers:
            if number > FIXED:
                self.reasons.setdefault(number, {})[why] = None

    def frozen(self) -> dict[int, tuple[str, ...]]:
        """The number that stands for a set -> why the set must stay."""
        found: dict[int, dict[str, None]] = {}
        for number, why in self.reasons.items():
            found.setdefault(self.find(number), {}).update(why)
        return {number: tuple(why) for number, why in found.items()}
