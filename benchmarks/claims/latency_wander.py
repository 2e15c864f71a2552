"""Claim: how far a pruned plan's measured ratio wanders over minutes, beside its stated interval.

    python benchmarks/claims/latency_wander.py [--times 20] [--every 10]

The bundled demo and two uniform plans, measured as a search measures its trials, each time in a
fresh process. An interval holds what happened during its own seconds; what the machine's neighbours
do in the minutes between is here. Measurements of one model against itself
(latency_repeatability.py) cannot show it: both sides change alike.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import checkout  # noqa: F401
from rich.console import Console
from rich.table import Table

from autoprune.demo.bundle import demo_checkpoint
from autoprune.evaluation.quiet import prepare_environment
from benchmarks.lib.provenance import provenance, save_results

prepare_environment()

from autoprune.domain.record import LatencyResult  # noqa: E402
from autoprune.evaluation.checkpoint import load_yolo, trained_image_size  # noqa: E402
from autoprune.latency.export import export_model  # noqa: E402
from autoprune.latency.local_target import LocalTarget  # noqa: E402
from autoprune.latency.measure import measure_against, measure_dense  # noqa: E402
from autoprune.latency.options import RuntimeOptions, TimingSettings  # noqa: E402
from autoprune.pruning.prune import Pruner, uniform_plan  # noqa: E402

RATIOS = (0.35, 0.525)
ROUND_TO = 16


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--times", type=int, default=20)
    arguments.add_argument("--every", type=float, default=10.0, help="seconds, at least")
    asked = arguments.parse_args()
    made = provenance("torch", "onnxruntime")
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            summary(ratio, results)
            for ratio, results in measured(asked.times, asked.every, Path(folder)).items()
        ]
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*map(str, row.values()))
    console.print(table)
    content = {"claim": "a measured ratio over minutes", "every_s": asked.every, "rows": rows}
    console.print(f"written: {save_results('latency_wander', content | made).name}")


def measured(times: int, every_s: float, folder: Path) -> dict[float, list[LatencyResult]]:
    """Each plan's results, taken by turns."""
    yolo = load_yolo(demo_checkpoint())
    side = max(trained_image_size(yolo))
    options = RuntimeOptions(runtime="onnxruntime", imgsz=(side, side))
    pruner, target, settings = Pruner(yolo.model, "l2"), LocalTarget(), TimingSettings()
    modules = {
        ratio: pruner.prune(uniform_plan(pruner.widths, ratio, ROUND_TO)) for ratio in RATIOS
    }
    files = {
        ratio: export_model(module, folder / f"{ratio}.onnx", (side, side), "onnxruntime")
        for ratio, module in {0.0: yolo.model, **modules}.items()
    }
    dense = measure_dense(target, files[0.0], options, settings)
    results: dict[float, list[LatencyResult]] = {ratio: [] for ratio in RATIOS}
    for _ in range(times):
        for ratio in RATIOS:
            began = time.monotonic()
            found = measure_against(target, files[ratio], files[0.0], dense, options, settings)
            results[ratio].append(found)
            time.sleep(max(0.0, every_s - (time.monotonic() - began)))
    return results


def summary(ratio: float, results: list[LatencyResult]) -> dict[str, Any]:
    """Scatter of the ratios, beside what their intervals say."""
    found = [result.ratio for result in results]
    middle = statistics.fmean(found)
    half = statistics.median((r.ratio_high - r.ratio_low) / 2 / r.ratio for r in results)
    within = sum(result.ratio_low <= middle <= result.ratio_high for result in results)
    return {
        "plan": f"uniform {ratio}, multiples of {ROUND_TO}",
        "times": len(results),
        "mean_ratio": round(middle, 4),
        "deviation_percent": round(100 * statistics.stdev(found) / middle, 2),
        "range_percent": round(100 * (max(found) - min(found)) / middle, 2),
        "stated_half_width_percent": round(100 * half, 2),
        "mean_inside_percent": round(100 * within / len(results)),
    }


if __name__ == "__main__":
    main()
