"""Balance: what must stay in equal numbers, once it is known which channels are fixed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from autoprune.families.tracing.found import Found
from autoprune.families.tracing.ids import FIXED

Part = Counter[int]
"""Channel, by the number that stands for its set -> how often it stands in the part."""

FrozenSets = dict[int, tuple[str, ...]]
"""The number that stands for a set of channels -> why it must stay."""

TIED = "as many must stay as of channels that stay"


def conditions(found: Found, frozen: FrozenSets) -> list[tuple[Part, ...]]:
    """The conditions that a plan must keep, without channels that stay in any case.

    A condition between channels of which some stay holds only if as many stay in each of its
    parts; otherwise all of it must stay.

    Args:
        found: What the forward pass told.
        frozen: Grows by what conditions freeze.

    Returns:
        Different conditions, each of parts that differ; no channel of `frozen` is in any.
    """
    every = [[_part(part, found.ids.find) for part in parts] for parts in _stated(found)]
    while True:
        before = len(frozen)
        for parts in every:
            stay = {
                sum(n for number, n in part.items() if _stays(number, frozen)) for part in parts
            }
            free = {number for part in parts for number in part if not _stays(number, frozen)}
            if len(stay) > 1:
                frozen.update(dict.fromkeys(free, (TIED,)))
        if len(frozen) == before:
            break
    left = {
        tuple(
            tuple(sorted((number, n) for number, n in part.items() if not _stays(number, frozen)))
            for part in parts
        )
        for parts in every
    }
    return [
        tuple(Counter(dict(part)) for part in parts)
        for parts in sorted(left)
        if len(set(parts)) > 1
    ]


def _stated(found: Found) -> Iterable[tuple[tuple[int, ...], ...]]:
    """All that was seen, and that an attribute counts as much wherever it is used."""
    yield from found.balances
    first: dict[object, tuple[int, ...]] = {}
    for size in found.sizes:
        attribute = size.formula.attribute
        if attribute is not None and all(len(row) == 1 for row in size.rows):
            numbers = tuple(row[0] for row in size.rows)
            yield first.setdefault(attribute, numbers), numbers


def _part(numbers: Iterable[int], find: Callable[[int], int]) -> Part:
    return Counter(map(find, numbers))


def _stays(number: int, frozen: FrozenSets) -> bool:
    return number <= FIXED or number in frozen
