"""F23: 200 trials that draw few plans again and again; each plan is evaluated once."""

from __future__ import annotations

import tempfile
from pathlib import Path

from autoprune.search.evaluate import trials
from benchmarks.faults.finding import Finding
from tests.search.fakes import WIDTHS, FakeEvaluation, fake_bench, fake_loop

TRIALS = 200
SPACE = "default: {step: 32, max_ratio: 0.8}\n"


def run(count: int = TRIALS) -> Finding:
    """TPE, and random draws, over a handful of plans."""
    found, wrong = {}, []
    for sampler in ("tpe", "random"):
        with tempfile.TemporaryDirectory() as folder:
            bench = fake_bench(Path(folder), trials=count, sampler=sampler)
            (Path(folder) / "space.yaml").write_text(SPACE)
            bench.space = type(bench.space).load(Path(folder) / "space.yaml", WIDTHS)
            evaluated = trials.evaluate_untrained = FakeEvaluation()  # type: ignore[attr-defined]
            fake_loop(bench).run()
            plans = [str(plan) for plan in evaluated.plans]
            records = bench.folder.trial_records()
            cached = sum(record.same_as is not None for record in records)
            found[sampler] = {"evaluated": len(plans), "from an earlier result": cached}
            if len(plans) != len(set(plans)):
                wrong.append(f"{sampler}: {len(plans) - len(set(plans))} plans evaluated twice")
            if len(records) != count or cached + len(plans) != count:
                wrong.append(f"{sampler}: {len(records)} records of {count} trials")
    return Finding(count, found, wrong)
