"""From what a forward pass told to channel groups: runs of channels that share all their places."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import gcd

from autoprune.families.tracing.balance import FrozenSets, Part, conditions
from autoprune.families.tracing.found import Found, Place, Role
from autoprune.families.tracing.ids import FIXED

UNREAD = "no weights read it, so nothing could make up for it"
UNMADE = "no weights make it"
SCATTERED = "its places do not lie side by side"


@dataclass
class Run:
    """Consecutive channels with the same places.

    Attributes:
        numbers: Those that stand for them.
        places: Tensor, axis, role, and the first channel's position there.
        reasons: Why they must stay; empty if they need not.
        cluster: The first run of those that keep the same share.
        step: How many channels one unit of that share is.
    """

    numbers: list[int]
    places: list[tuple[Place, Role, int]]
    reasons: tuple[str, ...] = ()
    step: int = 1
    cluster: Run | None = field(default=None, repr=False)

    @property
    def width(self) -> int:
        """Channels."""
        return len(self.numbers)

    def of(self, role: Role) -> list[tuple[Place, int]]:
        """Its places in one role."""
        return [(place, offset) for place, each, offset in self.places if each == role]


def runs_of(found: Found) -> list[Run]:
    """All channels, in the order in which they are made."""
    where = _where(found)
    frozen = found.ids.frozen()
    roles = {number: {role for _, role, _ in places} for number, places in where.items()}
    for number, of_it in roles.items():
        for role, why in (("makes", UNMADE), ("reads", UNREAD)):
            if role not in of_it and number not in frozen:
                frozen[number] = (why,)
    conditioned = conditions(found, frozen)
    made = {number: where[number] for number in where if "makes" in roles[number]}
    found_runs = list(_runs(made, frozen, conditioned))
    _freeze_scattered(found_runs)
    _cluster(found_runs, conditioned)
    return found_runs


def _where(found: Found) -> dict[int, list[tuple[Place, Role, int]]]:
    """The number that stands for a channel -> its places, with its position there."""
    where: dict[int, list[tuple[Place, Role, int]]] = defaultdict(list)
    stands_for = found.ids.all_found()
    for place, (numbers, role) in found.places.items():
        for position, number in enumerate(numbers.tolist()):
            if number > FIXED:
                where[stands_for[number]].append((place, role, position))
    return where


def _runs(
    where: dict[int, list[tuple[Place, Role, int]]],
    frozen: FrozenSets,
    conditioned: Sequence[tuple[Part, ...]],
) -> Iterator[Run]:
    held: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for position, parts in enumerate(conditioned):
        for side, part in enumerate(parts):
            for number, times in part.items():
                held[number].append((position, side, times))
    last: tuple[object, list[int]] | None = None
    run: Run | None = None
    for number in sorted(where):
        shape = [(place, role) for place, role, _ in where[number]]
        likeness = (shape, frozen.get(number, ()), held[number])
        positions = [position for _, _, position in where[number]]
        follows = last is not None and last == (likeness, [p - 1 for p in positions])
        last = (likeness, positions)
        if run is not None and follows:
            run.numbers.append(number)
            continue
        if run is not None:
            yield run
        run = Run([number], where[number], frozen.get(number, ()))
    if run is not None:
        yield run


def _freeze_scattered(runs: Sequence[Run]) -> None:
    """Channels that stand at every other place of a weight would each be a group."""
    alike: dict[object, list[Run]] = defaultdict(list)
    for run in runs:
        if run.width == 1:
            alike[tuple((place, role) for place, role, _ in run.places)].append(run)
    for single in alike.values():
        for run in single if len(single) > 1 else ():
            run.reasons = run.reasons or (SCATTERED,)


def _cluster(runs: list[Run], conditioned: Sequence[tuple[Part, ...]]) -> None:
    """Tie runs by conditions; one share for all keeps every condition."""
    owner = {number: run for run in runs for number in run.numbers}
    first = {id(run): run for run in runs}

    def head(run: Run) -> Run:
        while first[id(run)] is not run:
            run = first[id(run)]
        return run

    for parts in conditioned:
        tied = [owner[number] for part in parts for number in part]
        for run in tied[1:]:
            one, other = sorted((head(tied[0]), head(run)), key=lambda each: each.numbers[0])
            first[id(other)] = one
    members: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        run.cluster = head(run)
        members[id(run.cluster)].append(run)
    for tied in members.values():
        stuck = next((run.reasons for run in tied if run.reasons), ())
        unit = gcd(*(run.width for run in tied))
        for run in tied:
            run.step = run.width // unit
            run.reasons = run.reasons or stuck
