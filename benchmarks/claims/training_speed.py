"""Claim: a short fine-tune on a CPU is faster with channels last and fused optimizer steps.

    python benchmarks/claims/training_speed.py [--turns 4] [--epochs 1] [--threads 2]

The bundled demo, pruned by 0.4 everywhere and trained by the recipe of a search; the two ways take
turns, so that a change of the machine's speed meets both. What is shown are ratios of one run.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import checkout  # noqa: F401
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from autoprune.demo.bundle import demo_checkpoint
from autoprune.demo.dataset import demo_data_yaml
from autoprune.evaluation.quiet import prepare_environment, quiet
from benchmarks.lib.provenance import provenance, save_results

prepare_environment()

from autoprune.evaluation import device  # noqa: E402
from autoprune.evaluation.checkpoint import load_yolo, trained_image_size  # noqa: E402
from autoprune.evaluation.dataset import inspect_data  # noqa: E402
from autoprune.evaluation.fine_tune import fine_tune, settings_from  # noqa: E402
from autoprune.evaluation.inside import short_trainer  # noqa: E402
from autoprune.pruning.prune import Pruner, uniform_plan  # noqa: E402

RATIO = 0.4
PLAIN, FAST = "as Ultralytics trains", "channels last, fused steps"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--turns", type=int, default=4)
    arguments.add_argument("--epochs", type=int, default=1)
    arguments.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = arguments.parse_args()
    made = provenance("torch", "ultralytics")

    yolo = load_yolo(demo_checkpoint())
    imgsz, pruner = max(trained_image_size(yolo)), Pruner(yolo.model, "l2")
    module = pruner.prune(uniform_plan(pruner.widths, RATIO))
    seconds: dict[str, list[float]] = {PLAIN: [], FAST: []}
    with tempfile.TemporaryDirectory() as folder:
        data = inspect_data(demo_data_yaml()).training_yaml(Path(folder))
        for turn in range(asked.turns + 1):
            for way, taken in seconds.items():
                taken_s = one_training(module, data, imgsz, asked, way, Path(folder))
                if turn:  # the first warms up
                    taken.append(taken_s)

    table = Table("training", "median s", *(f"turn {turn + 1}" for turn in range(asked.turns)))
    for way, taken in seconds.items():
        table.add_row(way, f"{statistics.median(taken):.1f}", *(f"{value:.1f}" for value in taken))
    ratios = [fast / plain for plain, fast in zip(seconds[PLAIN], seconds[FAST], strict=True)]
    content = {
        "claim": "time of a short fine-tune",
        "ratio": RATIO,
        "epochs": asked.epochs,
        "threads": asked.threads,
        "imgsz_px": imgsz,
        "time_ratios": [round(ratio, 3) for ratio in ratios],
        "seconds": {way: [round(value, 2) for value in taken] for way, taken in seconds.items()},
    }
    console = Console()
    console.print(table)
    console.print(f"{FAST}: {statistics.median(ratios):.2f} of the time")
    console.print(f"written: {save_results('training_speed', content | made).name}")


def one_training(
    module: nn.Module,
    data: Path,
    imgsz: int,
    asked: argparse.Namespace,
    way: str,
    folder: Path,
) -> float:
    """Seconds of one fine-tune, loading included."""
    settings = settings_from({"epochs": asked.epochs, "device": "cpu"})
    with ExitStack() as stack:
        stack.enter_context(patch.object(device, "count_idle_cores", lambda: asked.threads))
        if way == PLAIN:
            stack.enter_context(patch.object(short_trainer, "_FUSED_ON_CPU", ()))
            stack.enter_context(patch.object(short_trainer, "_FASTER_CHANNELS_LAST", False))
        stack.enter_context(quiet(folder / "log.txt"))
        return fine_tune(module, data, imgsz, settings, folder).seconds


if __name__ == "__main__":
    main()
