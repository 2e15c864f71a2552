"""Claim: the learned predictor knows the latency of plans it has not seen within 2 %.

    python benchmarks/claims/latency_predictor.py [--models yolov8n yolov8s] [--imgsz 320]
        [--on onnxruntime:1 onnxruntime:2 torch:1] [--folder DIR]

Per model and runtime, the predictor is learned as a search learns it (random weights; latency
depends on shapes only) and then asked about 40 other random plans, half of them rounded to 8 or 16
channels, half not rounded. Its rivals: latency proportional to MACs, to parameters, and a constant
plus MACs fitted to the same timed plans. The errors hold the noise of timing the 40 plans; the
median half-width of their 95 % intervals stands beside them. With --folder, an interrupted run
goes on where it stopped.
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
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.optimize import nnls
from scipy.stats import spearmanr

from autoprune.evaluation.quiet import prepare_environment
from autoprune.latency.export import export_model
from autoprune.latency.local_target import LocalTarget
from autoprune.latency.measure import RuntimeOptions
from autoprune.latency.predictor import LatencyPredictor
from autoprune.latency.timed_plans import LatencyTable
from autoprune.latency.training_plans import training_plan
from autoprune.pruning.prune import Pruner
from autoprune.pruning.size import model_size
from autoprune.search.context.listener import SearchListener
from autoprune.search.learn.learn_latency import LIMIT_S, PLANS, PlanTimer, time_plans
from benchmarks.lib.provenance import provenance, save_results

UNSEEN = 40
UNSEEN_SEED = 1000
UNSEEN_ROUNDING = (16, 1, 8, 1)
SPEED_PLANS = 100_000


class Spoken(SearchListener):
    """Says what goes on, on one line."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def say(self, text: str) -> None:
        """See SearchListener."""
        self.console.print(text, style="dim")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--models", nargs="+", default=["yolov8n", "yolov8s"])
    arguments.add_argument("--imgsz", type=int, default=320)
    arguments.add_argument("--on", nargs="+", default=["onnxruntime:1", "onnxruntime:2", "torch:1"])
    arguments.add_argument("--limit", type=float, default=LIMIT_S, help="seconds to learn")
    arguments.add_argument("--folder", type=Path, help="keeps the timed plans")
    asked = arguments.parse_args()
    prepare_environment()
    console = Console()
    made = provenance("torch", "ultralytics", "onnxruntime", "numpy", "scipy")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.folder or Path(scratch)
        for on in asked.on:
            runtime, threads = on.split(":")
            for model in asked.models:
                console.print(f"{model} at {asked.imgsz} px, {runtime}, {threads} thread(s)")
                kept = folder / f"{model}-{asked.imgsz}-{runtime}-{threads}"
                options = RuntimeOptions(runtime, (asked.imgsz,) * 2, int(threads))
                rows.append(row(model, options, kept, asked.limit, console))
                show(rows, console)
    settings = {"unseen": UNSEEN, "plans": PLANS, "imgsz": asked.imgsz}
    content = {"claim": "error of the latency predictor", **settings, "rows": rows, **made}
    console.print(f"written: {save_results('latency_predictor', content).name}")


def row(
    name: str, options: RuntimeOptions, folder: Path, limit_s: float, console: Console
) -> dict[str, Any]:
    """Learn on one runtime, then compare with the unseen plans."""
    from ultralytics.nn.tasks import DetectionModel

    model = DetectionModel(f"{name}.yaml", verbose=False).eval()
    pruner = Pruner(model)

    def export(module: Any, where: Path) -> Any:
        path = where / f"model{options.row.suffix}"
        return export_model(module, path, options.imgsz, options.runtime)

    dense = export(model, folder)
    timer = PlanTimer(pruner, options.imgsz, LocalTarget(), options, dense, export)
    lessons = [training_plan(pruner.widths, 0, number) for number in range(PLANS)]
    unseen = [
        replace(
            training_plan(pruner.widths, UNSEEN_SEED, number),
            round_to=UNSEEN_ROUNDING[number % len(UNSEEN_ROUNDING)],
        )
        for number in range(UNSEEN)
    ]
    listener = Spoken(console)
    learned = time_plans(timer, lessons, folder / "lessons.json", listener, limit_s)
    predictor = learned.fit(timer.geometry)
    tested = time_plans(timer, unseen, folder / "unseen.json", listener, limit_s)

    # where models are slow to make, the time may not have been enough for all
    unseen = [plan for plan in unseen if pruner.signature(plan) in tested.known]
    kept = np.array([pruner.signature(plan) for plan in unseen])
    timed = [tested.known[tuple(each)] for each in kept.tolist()]
    truth = np.array([plan.ratio for plan in timed])
    aligned = np.array([plan.round_to > 1 for plan in unseen])
    sizes = [model_size(pruner.prune(plan), options.imgsz) for plan in unseen]
    whole = model_size(model, options.imgsz)
    guesses = {
        "predictor": predictor.predict(kept),
        "constant_macs": constant_and_macs(learned, predictor, kept),
        "macs": np.array([size.macs / whole.macs for size in sizes]),
        "params": np.array([size.params / whole.params for size in sizes]),
    }
    off = {key: np.abs(guess / truth - 1) for key, guess in guesses.items()}
    many = np.resize(kept, (SPEED_PLANS, kept.shape[1]))
    began = time.perf_counter()
    predictor.predict(many)
    return {
        "model": name,
        "fingerprint": tested.fingerprint.model_dump(),
        "block": predictor.staircase.block,
        "align": predictor.staircase.align,
        **{f"{key}_mape": round(float(each.mean()), 5) for key, each in off.items()},
        **{
            f"{key}_spearman": round(float(spearmanr(guess, truth)[0]), 5)
            for key, guess in guesses.items()
        },
        "aligned_mape": round(float(off["predictor"][aligned].mean()), 5),
        "unaligned_mape": round(float(off["predictor"][~aligned].mean()), 5),
        "cross_validated_mape": round(predictor.error.mape, 5),
        "timing_half_width": round(statistics.median(plan.half_width for plan in timed), 5),
        "plans": predictor.error.plans,
        "unseen": len(timed),
        "seconds_to_learn": round(learned.seconds, 1),
        "plans_per_s": round(SPEED_PLANS / (time.perf_counter() - began)),
        "ratios": [float(ratio) for ratio in truth.round(4)],
        "predicted": [float(ratio) for ratio in guesses["predictor"].round(4)],
    }


def constant_and_macs(learned: LatencyTable, predictor: LatencyPredictor, kept: Any) -> Any:
    """The best constant plus MACs, fitted on relative errors to the same timed plans."""
    geometry = predictor.geometry
    ratios = np.array([plan.ratio for plan in learned.plans])
    scale = geometry.macs(np.array([geometry.widths]))[0]
    macs = geometry.macs(np.array([plan.kept for plan in learned.plans])) / scale
    columns = np.stack((np.ones_like(macs), macs), axis=1)
    (constant, price), _ = nnls(columns / ratios[:, None], np.ones(len(ratios)))
    return constant + price * geometry.macs(kept) / scale


def show(rows: list[dict[str, Any]], console: Console) -> None:
    rivals = ("predictor", "constant_macs", "macs", "params")
    table = Table("runtime", "model", *rivals, "timing +-", "learned in s", "plans per s")
    for each in rows:
        runtime = f"{each['fingerprint']['runtime']} {each['fingerprint']['threads']}t"
        errors = (
            f"{each[f'{rival}_mape']:.2%} {each[f'{rival}_spearman']:.4f}" for rival in rivals
        )
        timing = f"{each['timing_half_width']:.1%}"
        seconds, speed = f"{each['seconds_to_learn']:.0f}", f"{each['plans_per_s']:,}"
        table.add_row(runtime, each["model"], *errors, timing, seconds, speed)
    console.print(table)


if __name__ == "__main__":
    main()
