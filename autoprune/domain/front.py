"""The Pareto front: which records no other record beats in size, latency and mAP at once."""

from __future__ import annotations

from collections.abc import Iterable

from autoprune.domain.record import TrialRecord


def objectives(record: TrialRecord) -> tuple[float, float, float] | None:
    """(params, latency in ms, -mAP50-95), all to be minimised; None when not all were measured."""
    if record.state != "complete" or record.size is None or record.latency is None:
        return None
    if record.map50_95 is None:
        return None
    return float(record.size.params), record.latency.median_ms, -record.map50_95


def pareto_front(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """The non-dominated records, fastest first.

    Only measured and fine-tuned records enter, by their scores after the short fine-tune: scores of
    different rungs are not comparable. Records with equal objectives are all kept, except that a
    repeated plan is represented by one record: the original where it is among them.
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
    front = [
        (values, record)
        for values, record in measured
        if not any(_dominates(other, values) for other, _ in measured)
    ]
    return [record for _, record in sorted(front, key=lambda pair: pair[0][1])]


def hypervolume(points: Iterable[tuple[float, float]], reference: tuple[float, float]) -> float:
    """Area that points dominate, the first coordinate to be minimised and the second maximised.

    Args:
        points: (cost, value) pairs; those that do not dominate `reference` count nothing.
        reference: The corner the area is measured from.
    """
    area, best = 0.0, reference[1]
    # by rising cost: each better value adds a strip from its cost to the reference
    for cost, value in sorted(points, key=lambda point: (point[0], -point[1])):
        if cost < reference[0] and value > best:
            area += (reference[0] - cost) * (value - best)
            best = value
    return area


def untrained_volume(records: Iterable[TrialRecord], dense_ms: float, dense_map: float) -> float:
    """Hypervolume of predicted latency and untrained mAP50-95, both relative to dense; 0 to 1.

    The reference point is the dense latency at mAP 0.

    Args:
        records: Those that have both count.
        dense_ms: Latency of the dense model.
        dense_map: Its mAP50-95.
    """
    points = [
        (record.predicted_ms / dense_ms, record.untrained_map50_95 / dense_map)
        for record in records
        if record.predicted_ms is not None and record.untrained_map50_95 is not None
    ]
    return hypervolume(points, (1.0, 0.0))


def _dominates(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    return all(a <= b for a, b in zip(first, second, strict=True)) and first != second
