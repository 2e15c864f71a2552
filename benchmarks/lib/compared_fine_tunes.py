"""Ways to fine-tune a pruned network shortly, compared plan by plan and seed by seed."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autoprune.demo.bundle import demo_checkpoint
from autoprune.demo.dataset import demo_data_yaml
from autoprune.domain.plan import PruningPlan
from autoprune.evaluation.fine_tune import FineTuned
from autoprune.evaluation.renormalize import renormalize_batchnorm
from autoprune.pruning.prune import uniform_plan
from benchmarks.lib.provenance import RESULTS, provenance, save_results
from benchmarks.lib.short_fine_tunes import Bench

Way = Callable[[Bench, nn.Module, float, int, int | None], FineTuned]
"""(bench, pruned network, its mAP50-95 on val, seed, epochs) -> the fine-tuned one."""


def compare(
    description: str,
    file: str,
    claim: str,
    ways: Mapping[str, Way],
    known: Callable[[Bench, nn.Module], dict[str, Any]] = lambda bench, module: {},
) -> None:
    """Read the command line, fine-tune in each way, and print and save the scores.

    Args:
        description: Of the script, for its help.
        file: Name of the results file, without suffix.
        claim: What it shows, in words.
        ways: The ways by name.
        known: What else to note of each pruned network.
    """
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("model", type=Path, nargs="?", default=demo_checkpoint())
    arguments.add_argument("data", type=Path, nargs="?")
    arguments.add_argument("--name", default="demo", help="of the model, in the table")
    arguments.add_argument("--seeds", type=int, default=1)
    arguments.add_argument("--ratios", type=float, nargs="*", default=[0.30, 0.45])
    arguments.add_argument("--plans", nargs="+", default=[], help="more: NAME=PLAN.yaml")
    arguments.add_argument("--epochs", type=int, help="of the fine-tune; the search's if left out")
    arguments.add_argument("--save", action="store_true", help="write the results file")
    asked = arguments.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(asked.model, asked.data or demo_data_yaml(), Path(folder))
        widths = bench.pruner.widths
        plans = {f"uniform {ratio:.2f}": uniform_plan(widths, ratio) for ratio in asked.ratios}
        named = dict(each.split("=", 1) for each in asked.plans)
        plans |= {name: PruningPlan.load(Path(path)) for name, path in named.items()}
        for name, plan in plans.items():
            pruned = bench.pruner.prune(plan)
            untrained = bench.map_of(pruned, "val")
            renormalize_batchnorm(pruned, bench.images, bench.imgsz)
            row: dict[str, Any] = {"plan": name, "untrained": untrained, **known(bench, pruned)}
            row |= {way: [] for way in ways}
            for seed in range(asked.seeds):
                for way, train in ways.items():
                    tuned = train(bench, pruned, untrained, seed, asked.epochs)
                    row["epochs"] = tuned.epochs
                    row[way].append(bench.scores(tuned.module))
                    print(f"{asked.name}, {name}, {way}: {row}", flush=True)
            rows.append(row)
    if asked.save:
        saved = RESULTS / f"{file}.json"
        models = json.loads(saved.read_text())["models"] if saved.exists() else []
        others = [each for each in models if each["model"] != asked.name]
        found = {"model": asked.name, "dense": bench.dense, "seeds": asked.seeds, "plans": rows}
        content = {
            "claim": claim,
            "models": [*others, found],
            **provenance("torch", "ultralytics"),
        }
        print(f"written: {save_results(file, content).name}")
