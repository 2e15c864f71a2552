"""Claim: batch norms cared for before and after a pruned network's short fine-tune keep its gain.

    python benchmarks/claims/fine_tune_norms.py [MODEL.pt DATA.yaml] [--name demo] [--seeds 3]
        [--plans PLAN.yaml ...]

The bundled demo, or a model and its data; obs order and compensated; then the search's short
fine-tune. Before it, batch norms stay as pruning leaves them ("as pruned") or get the network's own
mean and variance, with which it computes the same (`renormalize_batchnorm`, "own"). After it, they
stay as training leaves them, or are measured again on training images that are not augmented
(`recalibrate_batchnorm`). mAP50-95 on val and test. About 40 s per fine-tune on one core.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import tempfile
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
from benchmarks.lib.provenance import RESULTS, provenance, save_results

prepare_environment()

from autoprune.evaluation.checkpoint import load_yolo, trained_image_size  # noqa: E402
from autoprune.evaluation.dataset import inspect_data  # noqa: E402
from autoprune.evaluation.fine_tune import FineTuneSettings, fine_tune  # noqa: E402
from autoprune.evaluation.recalibrate import recalibrate_batchnorm  # noqa: E402
from autoprune.evaluation.renormalize import renormalize_batchnorm  # noqa: E402
from autoprune.evaluation.training_loss import sample_images  # noqa: E402
from autoprune.evaluation.validate import validate  # noqa: E402
from autoprune.pruning.prune import Pruner, uniform_plan  # noqa: E402
from autoprune.search.context.calibration_images import calibration_images  # noqa: E402
from autoprune.search.context.prepare import RECALIBRATION_IMAGES  # noqa: E402
from autoprune.search.learn.calibration import calibrate  # noqa: E402

NAME = "fine_tune_norms"
DEEP_FROM = 6  # layer index: the plan "deep" takes 0.15 before it and 0.5 from it on
DEEP = (0.15, 0.5)
BEFORE = ("as pruned", "own")
WAYS = [f"{before}{after}" for before in BEFORE for after in ("", ", again")]


def deep_plan(widths: dict[int, tuple[int, ...]]) -> PruningPlan:
    """Little of the early layers, much of the late ones."""
    early, late = (uniform_plan(widths, ratio).prune_ratios for ratio in DEEP)
    return PruningPlan({at: early[at] if at < DEEP_FROM else late[at] for at in widths})


class Bench:
    """The dense model, its data, and scores after a fine-tune."""

    def __init__(self, model: Path, data: Path, scratch: Path) -> None:
        self.scratch = scratch
        self.yolo = load_yolo(model)
        self.data = inspect_data(data)
        self.imgsz = max(trained_image_size(self.yolo))
        images = calibration_images(self.imgsz)
        known = calibrate(self.yolo.model, self.data, self.imgsz, images)
        self.pruner = Pruner(self.yolo.model, "obs", known, compensated=True)
        self.images = sample_images(self.data, RECALIBRATION_IMAGES, seed=0)
        self.dense = {split: self.map_of(self.yolo.model, split) for split in ("val", "test")}

    def plans(self, files: list[Path]) -> dict[str, PruningPlan]:
        """By their names."""
        widths = self.pruner.widths
        return {
            "uniform 0.30": uniform_plan(widths, 0.30),
            "uniform 0.45": uniform_plan(widths, 0.45),
            f"{DEEP[0]} before layer {DEEP_FROM}, {DEEP[1]} after": deep_plan(widths),
            **{file.stem: PruningPlan.load(file) for file in files},
        }

    def map_of(self, module: nn.Module, split: str) -> float:
        """mAP50-95."""
        images = self.data.val if split == "val" else self.data.test
        with quiet(self.scratch / "log.txt"):
            return round(validate(module, self.data, images, self.imgsz).map50_95, 4)

    def scores(self, module: nn.Module) -> dict[str, float]:
        """mAP50-95 on val and test."""
        return {split: self.map_of(module, split) for split in ("val", "test")}

    def trained(self, plan: PruningPlan, own: bool, seed: int) -> tuple[dict[str, Any], ...]:
        """Scores after the short fine-tune, and after its norms are measured again."""
        pruned = self.pruner.prune(plan)
        untrained = self.map_of(pruned, "val")
        if own:
            renormalize_batchnorm(pruned, self.images, self.imgsz)
        lost = 1 - untrained / self.dense["val"]
        settings = replace(FineTuneSettings(), seed=seed).after_losing(lost)
        data = self.data.training_yaml(self.scratch / "data")
        with quiet(self.scratch / "log.txt"):
            tuned = fine_tune(pruned, data, self.imgsz, settings, self.scratch).module
        again = copy.deepcopy(tuned)
        recalibrate_batchnorm(again, self.images, self.imgsz)
        told = {"seed": seed, "untrained": untrained}
        return tuple({**told, **self.scores(module)} for module in (tuned, again))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("model", type=Path, nargs="?", default=demo_checkpoint())
    arguments.add_argument("data", type=Path, nargs="?")
    arguments.add_argument("--name", default="demo", help="of the model, in the table")
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--plans", type=Path, nargs="+", default=[], help="more plans")
    asked = arguments.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(asked.model, asked.data or demo_data_yaml(), Path(folder))
        rows = []
        for name, plan in bench.plans(asked.plans).items():
            row: dict[str, Any] = {way: [] for way in WAYS}
            for seed in range(asked.seeds):
                for before in BEFORE:
                    for way, score in zip(
                        (before, f"{before}, again"),
                        bench.trained(plan, before == "own", seed),
                        strict=True,
                    ):
                        row[way].append(score)
                        print(f"{asked.name}, {name}, {way}: {score}", flush=True)
            rows.append({"plan": name, **row})
    Console().print(_table(rows))
    found = {"model": asked.name, "dense": bench.dense, "seeds": asked.seeds, "rows": rows}
    file = RESULTS / f"{NAME}.json"
    known = json.loads(file.read_text())["models"] if file.exists() else []
    others = [each for each in known if each["model"] != asked.name]
    content = {
        "claim": "batch norms before and after the short fine-tune",
        "models": [*others, {**found, **provenance("torch", "ultralytics")}],
    }
    print(f"written: {save_results(NAME, content).name}")


def _table(rows: list[dict[str, Any]]) -> Table:
    shown = Table("plan", "split", *WAYS)
    for row in rows:
        for split in ("val", "test"):
            means = [statistics.fmean(each[split] for each in row[way]) for way in WAYS]
            shown.add_row(row["plan"], split, *(f"{mean:.4f}" for mean in means))
    return shown


if __name__ == "__main__":
    main()
