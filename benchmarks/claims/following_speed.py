"""Claim: the channels of a small model are followed in under 2 s, those of yolo26x in under 5 s.

    python benchmarks/claims/following_speed.py [MODEL ...]

Stock models with random weights, each followed for the first time; a small one goes before, for
what a process does once. Seconds are of processor time on one thread, so that waiting for a busy
core does not count. The proof that a model was followed rightly, once for each, is told apart.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import checkout  # noqa: F401
import torch
from rich.console import Console
from rich.table import Table

from autoprune.evaluation.quiet import prepare_environment

MODELS = ("yolov8n", "yolov8x", "yolov9e", "yolo11n", "yolo11x", "yolo12x", "yolo26n", "yolo26x")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("models", nargs="*", default=list(MODELS))
    asked = arguments.parse_args()
    prepare_environment()
    torch.set_num_threads(1)
    followed("yolov8n-p2")
    rows = [followed(name) for name in asked.models]
    shown = Table("model", "M parameters", "groups", "followed, s", "proved, s")
    for row in rows:
        numbers = (f"{row[key]:.2f}" for key in ("followed_s", "proved_s"))
        shown.add_row(row["model"], f"{row['params'] / 1e6:.1f}", str(row["groups"]), *numbers)
    Console().print(shown)
    if tuple(asked.models) == MODELS:
        from benchmarks.lib.provenance import provenance, save_results

        save_results("following_speed", {"rows": rows, **provenance("torch", "ultralytics")})


def followed(name: str) -> dict[str, Any]:
    """One stock model, followed and proved."""
    from ultralytics.nn.tasks import DetectionModel

    from autoprune.families.tracing.channel_map import NO_OUTPUTS, channel_map, picture
    from autoprune.pruning.proof import prove_cut

    model = DetectionModel(f"{name}.yaml", verbose=False)
    channels, followed_s = _timed(lambda: channel_map(model))
    shape = (2, *picture(model))
    _, proved_s = _timed(lambda: prove_cut(model, channels, shape, NO_OUTPUTS))
    return {
        "model": name,
        "params": sum(each.numel() for each in model.parameters()),
        "groups": len(channels.groups),
        "followed_s": followed_s,
        "proved_s": proved_s,
    }


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.process_time()
    found = work()
    return found, time.process_time() - began


if __name__ == "__main__":
    main()
