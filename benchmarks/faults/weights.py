"""F9, F41: checkpoints that 16 bits cannot hold, nan, flipped and cut off: right, or one line."""

from __future__ import annotations

from benchmarks.faults.finding import Finding
from tests.campaign import checkpoints
from tests.campaign.__main__ import Case, _export, _prune, tried

SOUND = (
    "as shipped", "half", "a variance beyond half", "weights beyond half", "denormal weights",
    "pruned twice",
)  # fmt: skip


def run() -> Finding:
    """`autoprune prune` of each, and `export` of those beyond half precision."""
    cases = [
        *(Case(f"prune, {name}", checkpoints.SOUND[name], True, _prune) for name in SOUND),
        *(Case(f"export, {name}", checkpoints.SOUND[name], True, _export) for name in SOUND[2:4]),
        *(Case(f"prune, {name}", make, False, _prune) for name, make in checkpoints.BROKEN.items()),
    ]
    wrong = [f"{case.name}: {finding}" for case in cases for finding in tried(case)]
    return Finding(len(cases), {"refused in one line": len(checkpoints.BROKEN)}, wrong)
