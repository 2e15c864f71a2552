"""Claim: a compensated prune takes 0.05 to 0.13 s for yolov8n and 0.1 to 0.5 s for yolov8s.

    python benchmarks/claims/prune_speed.py [--repeats 5]

Uniform plans from a model in memory on the CPU, one thread, random weights and made-up statistics
of the real shapes. Seconds are of processor time, so that waiting for a busy core does not count.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import checkout  # noqa: F401
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from autoprune.evaluation.quiet import prepare_environment
from autoprune.families import channels_of
from autoprune.pruning.prune import Pruner, uniform_plan
from autoprune.pruning.statistics import CalibrationStatistics, InputMoments, kernel_wide
from benchmarks.lib.provenance import provenance, save_results

MODELS = ("yolov8n", "yolov8s", "yolov8m")
FIRST_RATIO, STEP, ROUND_TO = 0.2, 0.04, 8
RANK = 64  # of the made-up covariances, before a diagonal is added


def made_up(model: nn.Module) -> CalibrationStatistics:
    """Statistics of the shapes that a calibration would give."""
    modules: dict[str, Any] = dict(model.named_modules())
    groups = channels_of(model).groups
    names = list(dict.fromkeys(part.module for group in groups for part in group.consumers))
    inputs, fisher = {}, {}
    for name in names:
        conv, wide = modules[name], name in kernel_wide(modules, names)
        size = conv.weight[0].numel() if wide else conv.in_channels
        factor = torch.randn(size, RANK)
        covariance = factor @ factor.T / RANK + 0.1 * torch.eye(size)
        inputs[name] = InputMoments(torch.randn(size), covariance, wide)
        fisher[name] = torch.rand(conv.out_channels)
    return CalibrationStatistics(inputs=inputs, output_fisher=fisher)


def seconds(pruner: Pruner, ratio: float) -> float:
    """Processor time of one prune."""
    plan = uniform_plan(pruner.widths, ratio, ROUND_TO)
    began = time.process_time()
    pruner.prune(plan)
    return time.process_time() - began


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--repeats", type=int, default=5)
    asked = arguments.parse_args()

    prepare_environment()
    from ultralytics.nn.tasks import DetectionModel

    torch.set_num_threads(1)
    torch.manual_seed(0)
    made = provenance("torch", "ultralytics")
    ratios = [FIRST_RATIO + STEP * (turn + 1) for turn in range(asked.repeats)]
    table = Table("model", "plain s", "new widths s", "known widths s", "very first s", "ranking s")
    rows = []
    for name in MODELS:
        model = DetectionModel(f"{name}.yaml", verbose=False).eval()
        plain, known = Pruner(model), made_up(model)
        began = time.process_time()
        pruner = Pruner(model, "obs", known, compensated=True)
        ranking = time.process_time() - began
        seconds(plain, FIRST_RATIO)  # warms up
        row: dict[str, Any] = {
            "model": name,
            "first_s": seconds(pruner, FIRST_RATIO),
            "ranking_s": ranking,
        }
        row["plain_s"] = statistics.median(seconds(plain, ratio) for ratio in ratios)
        row["new_s"] = statistics.median(seconds(pruner, ratio) for ratio in ratios)
        row["again_s"] = statistics.median(seconds(pruner, ratios[-1]) for _ in ratios)
        rows.append(
            {key: value if key == "model" else round(value, 3) for key, value in row.items()}
        )
        shown = ("model", "plain_s", "new_s", "again_s", "first_s", "ranking_s")
        table.add_row(*(str(rows[-1][key]) for key in shown))

    settings = {"ratios": ratios, "repeats": asked.repeats, "threads": 1, "clock": "processor"}
    content = {"claim": "time of one prune including the deep copy", **settings, "rows": rows}
    console = Console()
    console.print(table)
    console.print(f"written: {save_results('prune_speed', {**content, **made}).name}")


if __name__ == "__main__":
    main()
