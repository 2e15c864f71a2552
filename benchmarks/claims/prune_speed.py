"""Claim: one prune, deep copy included, takes about 0.1 s for yolov8n and 1.5 s for yolov8x.

    python benchmarks/claims/prune_speed.py [--repeats 7]

Uniform plan of 0.4 from a model in memory on the CPU, torch's own thread setting unless given. The
times are wall-clock; the load of the machine is written beside them.
"""

from __future__ import annotations

import argparse
import statistics
import time

import checkout  # noqa: F401
import torch
from rich.console import Console
from rich.table import Table

from autoprune.evaluation.quiet import prepare_environment
from autoprune.families import family_of
from autoprune.pruning.prune import Pruner, uniform_plan
from benchmarks.lib.provenance import provenance, save_results

MODELS = ("yolov8n", "yolov8s", "yolov8m", "yolov8x")
RATIO = 0.4


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--repeats", type=int, default=7)
    arguments.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = arguments.parse_args()

    prepare_environment()
    from ultralytics.nn.tasks import DetectionModel

    torch.set_num_threads(asked.threads)
    made = provenance("torch", "ultralytics")
    table = Table("model", "params", "pruned params", "median s", "fastest s", "slowest s")
    rows = []
    for name in MODELS:
        model = DetectionModel(f"{name}.yaml", verbose=False).eval()
        plan = uniform_plan(family_of(model).widths(model), RATIO)
        pruned, times = Pruner(model).prune(plan), []  # the first one warms up
        for _ in range(asked.repeats):
            began = time.perf_counter()
            pruned = Pruner(model).prune(plan)
            times.append(time.perf_counter() - began)
        rows.append(
            {
                "model": name,
                "params": sum(p.numel() for p in model.parameters()),
                "pruned_params": sum(p.numel() for p in pruned.parameters()),
                "median_s": round(statistics.median(times), 4),
                "fastest_s": round(min(times), 4),
                "slowest_s": round(max(times), 4),
            }
        )
        table.add_row(*(str(value) for value in rows[-1].values()))

    settings = {"ratio": RATIO, "repeats": asked.repeats, "threads": asked.threads}
    content = {"claim": "time of one prune including the deep copy", **settings, "rows": rows}
    console = Console()
    console.print(table)
    console.print(f"written: {save_results('prune_speed', {**content, **made}).name}")


if __name__ == "__main__":
    main()
