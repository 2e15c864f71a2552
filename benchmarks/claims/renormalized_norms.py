"""Claim: own batch-norm statistics at the same function help a pruned network's short fine-tune.

    python benchmarks/claims/renormalized_norms.py [--seeds 3]

The bundled demo checkpoint, obs order and compensated, then the search's short fine-tune, with and
without `renormalize_batchnorm` before it; mAP50-95 on val and test. About 40 s per fine-tune on
one core.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import checkout  # noqa: F401
import torch
from rich.console import Console
from rich.table import Table

from autoprune.demo.bundle import demo_checkpoint
from autoprune.demo.dataset import demo_data_yaml
from autoprune.domain.plan import PruningPlan
from autoprune.evaluation.quiet import prepare_environment
from benchmarks.lib.provenance import provenance, save_results

prepare_environment()

from autoprune.evaluation.renormalize import renormalize_batchnorm  # noqa: E402
from autoprune.pruning.prune import uniform_plan  # noqa: E402
from benchmarks.lib.short_fine_tunes import DEEP_NAME, Bench, deep_plan  # noqa: E402


def score(bench: Bench, plan: PruningPlan, renormalized: bool, seed: int) -> dict[str, Any]:
    """mAP50-95 before and after the short fine-tune."""
    pruned = bench.pruner.prune(plan)
    untrained = bench.map_of(pruned, "val")
    if renormalized:
        renormalize_batchnorm(pruned, bench.images, bench.imgsz)
        again = bench.map_of(pruned, "val")
        assert abs(again - untrained) < 0.002, (untrained, again)  # the same function
    tuned = bench.trained(pruned, untrained, seed)
    return {
        "untrained": untrained,
        **bench.scores(tuned.module),
        "seconds": round(tuned.seconds, 1),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seeds", type=int, default=3)
    asked = arguments.parse_args()
    torch.set_num_threads(1)
    console = Console()
    made = provenance("torch", "ultralytics")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(demo_checkpoint(), demo_data_yaml(), Path(folder))
        widths = bench.pruner.widths
        plans = {
            "uniform 0.30": uniform_plan(widths, 0.30),
            "uniform 0.45": uniform_plan(widths, 0.45),
            DEEP_NAME: deep_plan(widths),
        }
        rows: dict[str, dict[str, Any]] = {
            name: {"plan": name, "without": [], "with": []} for name in plans
        }
        for seed in range(asked.seeds):
            for name, plan in plans.items():
                for key in ("without", "with"):
                    began = time.monotonic()
                    found = score(bench, plan, key == "with", seed)
                    rows[name][key].append({"seed": seed, **found})
                    seconds = time.monotonic() - began
                    print(f"{name}, seed {seed}, {key}: {found}, {seconds:.0f} s", flush=True)
    table = Table("plan", "untrained", "split", "without", "with", "mean gain, points")
    for name, row in rows.items():
        for split in ("val", "test"):
            before, after = ([one[split] for one in row[key]] for key in ("without", "with"))
            gains = [100 * (new - old) for old, new in zip(before, after, strict=True)]
            row[f"{split}_gain_points"] = round(statistics.fmean(gains), 2)
            start = str(row["with"][0]["untrained"])
            shown = ("  ".join(map(str, values)) for values in (before, after))
            table.add_row(name, start, split, *shown, f"{row[f'{split}_gain_points']:+.2f}")
    console.print(table)
    content = {
        "claim": "batch norms with the pruned network's own statistics before the fine-tune",
        "dense": bench.dense,
        "seeds": asked.seeds,
        "rows": list(rows.values()),
    }
    console.print(f"written: {save_results('renormalized_norms', {**content, **made}).name}")


if __name__ == "__main__":
    main()
