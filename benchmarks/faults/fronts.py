"""F30: the front of 1000 random sets equals brute force; ties kept, failed records absent."""

from __future__ import annotations

import random

from autoprune.domain.front import pareto_front
from autoprune.domain.record import Failure, TrialRecord
from benchmarks.faults.finding import Finding
from tests.search.fakes import record

SETS = 1000


def brute_force(records: list[TrialRecord]) -> set[str]:
    """Names of those that no other measured and fine-tuned record beats, written apart."""
    points = {}
    for each in records:
        if each.state == "complete" and each.same_as is None:
            assert each.latency is not None
            assert each.size is not None
            assert each.map50_95 is not None
            points[each.name] = (each.size.params, each.latency.median_ms, -each.map50_95)
    return {
        name
        for name, mine in points.items()
        if not any(
            other != mine and all(a <= b for a, b in zip(other, mine, strict=True))
            for other in points.values()
        )
    }


def run(sets: int = SETS) -> Finding:
    """Coarse numbers, so that many tie; a fifth failed or over budget, with the best numbers."""
    wrong, members, ties = [], 0, 0
    for seed in range(sets):
        dice = random.Random(seed)
        records = [_drawn(dice, number) for number in range(dice.randrange(1, 30))]
        front = [each.name for each in pareto_front(records)]
        members += len(front)
        ties += len(front) - len({_numbers(each) for each in pareto_front(records)})
        if set(front) != brute_force(records) or len(front) != len(set(front)):
            wrong.append(f"set {seed}: {sorted(front)}")
    return Finding(sets, {"members": members, "ties among them": ties}, wrong)


def _numbers(each: TrialRecord) -> tuple[object, ...]:
    assert each.latency is not None
    assert each.size is not None
    return each.size.params, each.latency.median_ms, each.map50_95


def _drawn(dice: random.Random, number: int) -> TrialRecord:
    state = dice.choice(["complete"] * 4 + ["failed"])
    if state == "failed":
        failure = Failure(reason="nan", detail="not finite")
        return record(
            f"trial {number}", 0.1, 0.99, number=number, state=state, params=1, failure=failure
        )
    ms, score, params = dice.randint(1, 6), dice.randint(0, 6) / 8, dice.randint(1, 5)
    return record(f"trial {number}", float(ms), score, number=number, params=params)
