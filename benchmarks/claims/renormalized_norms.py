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
from dataclasses import replace
from pathlib import Path
from typing import Any

import checkout  # noqa: F401
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from autoprune.demo.bundle import demo_checkpoint
from autoprune.demo.dataset import demo_data_yaml
from autoprune.domain.plan import PruningPlan
from autoprune.evaluation.quiet import prepare_environment, quiet
from benchmarks.lib.provenance import provenance, save_results

prepare_environment()

from autoprune.evaluation.checkpoint import load_yolo, trained_image_size  # noqa: E402
from autoprune.evaluation.dataset import inspect_data  # noqa: E402
from autoprune.evaluation.fine_tune import FineTuneSettings, fine_tune  # noqa: E402
from autoprune.evaluation.renormalize import renormalize_batchnorm  # noqa: E402
from autoprune.evaluation.training_loss import sample_images  # noqa: E402
from autoprune.evaluation.validate import validate  # noqa: E402
from autoprune.pruning.prune import Pruner, uniform_plan  # noqa: E402
from autoprune.search.context.calibration_images import calibration_images  # noqa: E402
from autoprune.search.context.prepare import RECALIBRATION_IMAGES  # noqa: E402
from autoprune.search.learn.calibration import calibrate  # noqa: E402

DEEP_FROM = 6  # layer index: the plan "deep" takes 0.15 before it and 0.5 from it on
DEEP = (0.15, 0.5)


def deep_plan(widths: dict[int, tuple[int, ...]]) -> PruningPlan:
    """Little of the early layers, much of the late ones."""
    early, late = (uniform_plan(widths, ratio).prune_ratios for ratio in DEEP)
    return PruningPlan({at: early[at] if at < DEEP_FROM else late[at] for at in widths})


class Bench:
    """The dense model, its data, and scores after a fine-tune."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.yolo = load_yolo(demo_checkpoint())
        self.data = inspect_data(demo_data_yaml())
        self.imgsz = max(trained_image_size(self.yolo))
        images = calibration_images(self.imgsz)
        known = calibrate(self.yolo.model, self.data, self.imgsz, images)
        self.pruner = Pruner(self.yolo.model, "obs", known, compensated=True)
        self.images = sample_images(self.data, RECALIBRATION_IMAGES, seed=0)
        self.dense = self.map_of(self.yolo.model, "val")

    def map_of(self, module: nn.Module, split: str) -> float:
        """mAP50-95."""
        images = self.data.val if split == "val" else self.data.test
        with quiet(self.scratch / "log.txt"):
            return round(validate(module, self.data, images, self.imgsz).map50_95, 4)

    def trained(self, plan: PruningPlan, renormalized: bool, seed: int) -> dict[str, Any]:
        """mAP50-95 before and after the short fine-tune."""
        pruned = self.pruner.prune(plan)
        untrained = self.map_of(pruned, "val")
        if renormalized:
            renormalize_batchnorm(pruned, self.images, self.imgsz)
            again = self.map_of(pruned, "val")
            assert abs(again - untrained) < 0.002, (untrained, again)  # the same function
        settings = replace(FineTuneSettings(), seed=seed).after_losing(1 - untrained / self.dense)
        data = self.data.training_yaml(self.scratch / "data")
        with quiet(self.scratch / "log.txt"):
            tuned = fine_tune(pruned, data, self.imgsz, settings, self.scratch)
        scores = {split: self.map_of(tuned.module, split) for split in ("val", "test")}
        return {"untrained": untrained, **scores, "seconds": round(tuned.seconds, 1)}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seeds", type=int, default=3)
    asked = arguments.parse_args()
    torch.set_num_threads(1)
    console = Console()
    made = provenance("torch", "ultralytics")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        widths = bench.pruner.widths
        plans = {
            "uniform 0.30": uniform_plan(widths, 0.30),
            "uniform 0.45": uniform_plan(widths, 0.45),
            f"{DEEP[0]} before layer {DEEP_FROM}, {DEEP[1]} after": deep_plan(widths),
        }
        rows: dict[str, dict[str, Any]] = {
            name: {"plan": name, "without": [], "with": []} for name in plans
        }
        for seed in range(asked.seeds):
            for name, plan in plans.items():
                for key in ("without", "with"):
                    began = time.monotonic()
                    score = bench.trained(plan, key == "with", seed)
                    rows[name][key].append({"seed": seed, **score})
                    seconds = time.monotonic() - began
                    print(f"{name}, seed {seed}, {key}: {score}, {seconds:.0f} s", flush=True)
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
