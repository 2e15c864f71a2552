"""Attributes that count channels: what they become, and whether all arithmetic on them agrees."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence

from autoprune.families.tracing.found import Found, UsedSize
from autoprune.families.tracing.grouping import Run
from autoprune.families.tracing.ids import FIXED
from autoprune.families.tracing.sizes import Attribute, Rows


def freeze_contradictions(found: Found, runs: Sequence[Run]) -> None:
    """Runs whose removal would break a size must stay; tried for each cluster.

    With the least and the most that a cluster can keep, every size that the forward pass used must
    be what its formula gives once the attributes are rewritten; and an attribute that is used as a
    number too must not change.
    """
    clusters: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        if not run.reasons:
            clusters[id(run.cluster)].append(run)
    rows = [_resolved(found, size) for size in found.sizes]
    counted_in = [{number for row in each for number in row} for each in rows]
    for tied in clusters.values():
        members = {number for run in tied for number in run.numbers}
        touched = [
            (size, each)
            for size, each, numbers in zip(found.sizes, rows, counted_in, strict=True)
            if not members.isdisjoint(numbers)
        ]
        units = tied[0].width // tied[0].step
        for kept in {1, units - 1} - {0}:
            gone = {n for run in tied for n in run.numbers[kept * run.step :]}
            why = _contradiction(found, touched, gone)
            if why:
                for run in tied:
                    run.reasons = (why,)
                break


def _contradiction(
    found: Found, touched: list[tuple[UsedSize, Rows]], gone: Collection[int]
) -> str:
    """What would not fit if these channels went; "" if all does."""
    values: dict[Attribute, int] = {}
    for size, rows in touched:
        attribute = size.formula.attribute
        if attribute is not None:
            count = _count(rows, gone)
            if values.setdefault(attribute, count) != count:
                return f"{attribute[1]} would have two values: {size.where}"
            if attribute in found.numbers and count != size.formula.value:
                return f"{attribute[1]} is also used as a number: {size.where}"
    for size, rows in touched:
        if size.formula.of(values) != _count(rows, gone):
            return f"a size that follows from no attribute: {size.where}"
    return ""


def counted(found: Found, runs: Sequence[Run]) -> Iterator[tuple[Attribute, int, list[Run]]]:
    """Attributes that change with plans: what they count that stays, and the runs they count."""
    owner = {number: run for run in runs for number in run.numbers}
    seen: set[Attribute] = set()
    for size in found.sizes:
        attribute, rows = size.formula.attribute, _resolved(found, size)
        if attribute is None or attribute in seen or any(len(row) != 1 for row in rows):
            continue
        times: Counter[int] = Counter(row[0] for row in rows)
        free = {
            id(owner[number]): owner[number]
            for number in times
            if number in owner and not owner[number].reasons
        }
        if not free:
            continue
        seen.add(attribute)
        found_runs = [
            run
            for run in sorted(free.values(), key=lambda run: run.numbers[0])
            for _ in range(times[run.numbers[0]])
        ]
        yield attribute, len(rows) - sum(run.width for run in found_runs), found_runs


def _resolved(found: Found, size: UsedSize) -> Rows:
    return tuple(tuple(found.ids.find(number) for number in row) for row in size.rows)


def _count(rows: Rows, gone: Collection[int]) -> int:
    """Positions where something is left."""
    return sum(any(number <= FIXED or number not in gone for number in row) for row in rows)
