"""The Pareto front: which records no other record beats in size, latency and mAP at once."""

from __future__ import annotations

from collections.abc import Iterable

from autoprune.record import TrialRecord


def objectives(record: TrialRecord) -> tuple[float, float, float] | None:
    """(params, latency in ms, -mAP50-95), all to be minimised; None when not all were measured."""
    if record.state != "complete" or record.size is None or record.latency is None:
        return None
    if record.map50_95 is None:
        return None
    return float(record.size.params), record.latency.median_ms, -record.map50_95


def pareto_front(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """The non-dominated records, fastest first.

    Failed records and those over budget never enter. Scores of different rungs are not comparable,
    so only the records of the highest rung that any of them reached compete. Records with equal
    objectives are all kept, except that a repeated plan is represented by one record: the original
    where it is among them.
    """
    first_of_plan: dict[str, TrialRecord] = {}
    for record in records:
        if record.same_as is None:
            first_of_plan[record.name] = record
        else:
            first_of_plan.setdefault(record.same_as, record)
    measured = [
        (values, record)
        for record in first_of_plan.values()
        if (values := objectives(record)) is not None
    ]
    top = max((record.rungs[-1].rung for _, record in measured), default=0)
    scored = [(values, record) for values, record in measured if record.rungs[-1].rung == top]
    front = [
        (values, record)
        for values, record in scored
        if not any(_dominates(other, values) for other, _ in scored)
    ]
    return [record for _, record in sorted(front, key=lambda pair: pair[0][1])]


def _dominates(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    return all(a <= b for a, b in zip(first, second, strict=True)) and first != second
