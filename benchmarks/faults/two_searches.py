"""F26: two searches on one study at once, 50 trials each: all numbers unique, none twice."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.faults import fake_search
from benchmarks.faults.finding import Finding
from benchmarks.faults.forked import fork, wait

TRIALS = 100


def run(count: int = TRIALS) -> Finding:
    """Both work on it until there are so many trials."""
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        wait(fork(lambda: fake_search.search(root, 1, sampler="random")))
        both = [fork(lambda: fake_search.search(root, count, sampler="random")) for _ in range(2)]
        if any(wait(pid) != 0 for pid in both):
            wrong.append("a search failed")
        numbers = [record.number for record in fake_search.records(root)]
        begun = fake_search.evaluations(root)
        twice = sum(times - 1 for times in begun.values())
        wrong += [f"{twice} trials evaluated twice"] * (twice > 0)
        if numbers != list(range(len(numbers))) or not count <= len(numbers) <= count + 1:
            wrong.append(f"numbers {numbers[:3]} ... {numbers[-3:]} of {count} trials")
    return Finding(
        1, {"trials": len(numbers), "evaluated": len(begun), "evaluated twice": twice}, wrong
    )
