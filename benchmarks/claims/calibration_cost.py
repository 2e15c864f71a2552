"""Claim: on one core yolov8s is calibrated at 640 px within a minute, yolov8x within four.

    python benchmarks/claims/calibration_cost.py [--images 6]

Random weights, generated pictures scaled up to 640 px, one thread, nothing cached. Seconds are of
processor time, so that waiting for a busy core does not count. Memory is the
peak resident size of a child process that calibrates, less that of one that only loads the model.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import checkout  # noqa: F401

MODELS = ("yolov8s", "yolov8x")
SIDE = 640  # px
FEW = 2  # images of the short run: the difference to the long one is free of fixed costs


def child(model_name: str, images: int) -> dict[str, float]:
    """Load a model; calibrate it on `images` pictures unless that is 0."""
    from autoprune.evaluation.quiet import prepare_environment

    prepare_environment()
    import torch
    from ultralytics.nn.tasks import DetectionModel

    from autoprune.demo.dataset import Split, write_detection_set
    from autoprune.demo.shapes import CLASS_NAMES
    from autoprune.evaluation.dataset import inspect_data
    from autoprune.search.learn.calibration import calibrate

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = DetectionModel(f"{model_name}.yaml", nc=len(CLASS_NAMES), verbose=False).eval()
    seconds = 0.0
    if images:
        with tempfile.TemporaryDirectory() as folder:
            splits = {"train": Split(1, images), "val": Split(2, 2)}
            data = inspect_data(write_detection_set(Path(folder) / "set", splits))
            began = time.process_time()
            calibrate(model, data, SIDE, images, cache=Path(folder) / "cache")
            seconds = time.process_time() - began
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "peak_mb": peak_kib * 1024 / 1e6}


def in_child(model_name: str, images: int) -> dict[str, float]:
    """Run `child` in a process of its own."""
    command = [sys.executable, __file__, "--child", model_name, "--images", str(images)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--images", type=int, default=6)
    arguments.add_argument("--models", nargs="+", default=MODELS)
    arguments.add_argument("--child", help=argparse.SUPPRESS)
    asked = arguments.parse_args()
    if asked.child:
        print(json.dumps(child(asked.child, asked.images)))
        return
    from rich.console import Console
    from rich.table import Table

    from autoprune.search.context.calibration_images import calibration_images
    from benchmarks.lib.provenance import provenance, save_results

    default = calibration_images(SIDE)
    made = provenance("torch", "ultralytics")
    table = Table("model", "s per image", f"s for {default} images", "extra peak memory, MB")
    rows = []
    for name in asked.models:
        loaded, short, long = (in_child(name, count) for count in (0, FEW, asked.images))
        each = (long["seconds"] - short["seconds"]) / (asked.images - FEW)
        row = {
            "model": name,
            "seconds_per_image": round(each, 2),
            "seconds_for_default": round(short["seconds"] + each * (default - FEW)),
            "extra_mb": round(max(short["peak_mb"], long["peak_mb"]) - loaded["peak_mb"]),
        }
        rows.append(row)
        table.add_row(*(str(value) for value in row.values()))
    content = {
        "claim": "cost of calibration",
        "imgsz_px": SIDE,
        "images": asked.images,
        "default_images": default,
        "clock": "processor",
        "threads": 1,
    }
    console = Console()
    console.print(table)
    console.print(
        f"written: {save_results('calibration_cost', {**content, 'rows': rows, **made}).name}"
    )


if __name__ == "__main__":
    main()
