"""F12: plans that are no YAML, no plan, or none of this model: one line within 100 ms each."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from autoprune.demo.bundle import demo_checkpoint
from autoprune.domain.plan import PruningPlan
from autoprune.errors import ConfigError, PlanError
from autoprune.evaluation.checkpoint import load_yolo
from autoprune.pruning.prune import Pruner
from benchmarks.faults.finding import Finding
from tests.domain.test_plan import BAD
from tests.pruning.test_plan_errors import CASES

MOST_MS = 100.0
MISSING = (0, 10, 17, 22)


def run() -> Finding:
    """Read each as `autoprune prune` does once the model is there; imports are not counted."""
    wrong, slowest_ms, count = [], 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        path, pruner = Path(folder) / "plan.yaml", Pruner(load_yolo(demo_checkpoint()).model)
        for name, write in _plans(pruner).items():
            write(path)
            said, began = "", time.perf_counter()
            try:
                pruner.prune(PruningPlan.load(path), str(path))
            except (ConfigError, PlanError) as error:
                said = str(error)
            took_ms = 1e3 * (time.perf_counter() - began)
            slowest_ms, count = max(slowest_ms, took_ms), count + 1
            if not said.startswith(f"{path}: ") or "\n" in said:
                wrong.append(f"{name}: not refused in one line that names the file: {said!r}")
            if took_ms > MOST_MS:
                wrong.append(f"{name}: refused after {took_ms:.0f} ms")
    return Finding(count, {"longest, ms": round(slowest_ms, 1)}, wrong)


def _write(text: str, path: Path) -> None:
    path.write_text(text)


def _plans(pruner: Pruner) -> dict[str, Callable[[Path], object]]:
    """What is wrong -> writes the plan."""
    texts: dict[str, Callable[[Path], object]] = {
        name: partial(_write, text) for name, (text, _) in BAD.items()
    }
    for name, (ratios, _) in CASES.items():
        texts[name] = PruningPlan(ratios).save
    whole = CASES["an index beyond the model"][0]
    for index in MISSING:
        ratios = {key: value for key, value in whole.items() if key not in (index, 23)}
        texts[f"index {index} is missing"] = PruningPlan(ratios).save
    return texts
