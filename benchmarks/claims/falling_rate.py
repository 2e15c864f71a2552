"""Claim: a learning rate that falls batch by batch makes the most of a short fine-tune.

    python benchmarks/claims/falling_rate.py [MODEL.pt DATA.yaml] [--name demo] [--seeds 1]
        [--ratios 0.30 0.45] [--plans PLAN.yaml ...] [--epochs N] [--save]

The bundled demo, or a model and its data; obs order and compensated; then the search's short
fine-tune, by Ultralytics' steps after each epoch and with a rate that falls batch by batch from the
middle on; mAP50-95 on val and test. About 40 s per fine-tune of the demo on one core.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import checkout  # noqa: F401
import torch

from autoprune.demo.bundle import demo_checkpoint
from autoprune.demo.dataset import demo_data_yaml
from autoprune.domain.plan import PruningPlan
from autoprune.evaluation.quiet import prepare_environment
from benchmarks.lib.provenance import RESULTS, provenance, save_results

prepare_environment()

from autoprune.evaluation.inside.short_trainer import ShortTrainer  # noqa: E402
from autoprune.evaluation.renormalize import renormalize_batchnorm  # noqa: E402
from autoprune.pruning.prune import uniform_plan  # noqa: E402
from benchmarks.lib.short_fine_tunes import Bench  # noqa: E402

NAME = "falling_rate"
WAYS = ("by_epoch", "by_batch")


def score(bench: Bench, plan: PruningPlan, way: str, seed: int, epochs: int | None) -> Any:
    """Scores after the fine-tune, and what they are of."""
    pruned = bench.pruner.prune(plan)
    untrained = bench.map_of(pruned, "val")
    renormalize_batchnorm(pruned, bench.images, bench.imgsz)
    anneal = ShortTrainer.anneal if way == "by_batch" else (lambda _: None)
    with mock.patch.object(ShortTrainer, "anneal", anneal):
        tuned = bench.trained(pruned, untrained, seed, epochs)
    return untrained, tuned.epochs, bench.scores(tuned.module)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("model", type=Path, nargs="?", default=demo_checkpoint())
    arguments.add_argument("data", type=Path, nargs="?")
    arguments.add_argument("--name", default="demo", help="of the model, in the table")
    arguments.add_argument("--seeds", type=int, default=1)
    arguments.add_argument("--ratios", type=float, nargs="+", default=[0.30, 0.45])
    arguments.add_argument("--plans", type=Path, nargs="+", default=[], help="more plans")
    arguments.add_argument("--epochs", type=int, help="of the fine-tune; the search's if left out")
    arguments.add_argument("--save", action="store_true", help="write the results file")
    asked = arguments.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(asked.model, asked.data or demo_data_yaml(), Path(folder))
        widths = bench.pruner.widths
        plans = {f"uniform {ratio:.2f}": uniform_plan(widths, ratio) for ratio in asked.ratios}
        plans |= {file.stem: PruningPlan.load(file) for file in asked.plans}
        for name, plan in plans.items():
            row: dict[str, Any] = {"plan": name, **{way: [] for way in WAYS}}
            for seed in range(asked.seeds):
                for way in WAYS:
                    row["untrained"], row["epochs"], found = score(
                        bench, plan, way, seed, asked.epochs
                    )
                    row[way].append(found)
                    print(f"{asked.name}, {name}, {row['untrained']}, {way}: {found}", flush=True)
            rows.append(row)
    if asked.save:
        file = RESULTS / f"{NAME}.json"
        known = json.loads(file.read_text())["models"] if file.exists() else []
        others = [each for each in known if each["model"] != asked.name]
        found = {"model": asked.name, "dense": bench.dense, "seeds": asked.seeds, "plans": rows}
        content = {
            "claim": "the learning rate falls batch by batch",
            "models": [*others, found],
            **provenance("torch", "ultralytics"),
        }
        print(f"written: {save_results(NAME, content).name}")


if __name__ == "__main__":
    main()
