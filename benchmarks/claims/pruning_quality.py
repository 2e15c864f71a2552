"""Claim: obs order and compensation keep most of the accuracy without any training.

    python benchmarks/claims/pruning_quality.py

The bundled demo checkpoint, pruned by the same ratio everywhere, mAP50-95 on the demo's val split.
Calibration and recalibration look at training images only. About ten minutes on one core.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import checkout  # noqa: F401
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from autoprune.demo.bundle import demo_checkpoint
from autoprune.demo.dataset import demo_data_yaml
from autoprune.evaluation.quiet import prepare_environment
from benchmarks.lib.provenance import provenance, save_results

prepare_environment()

from autoprune.evaluation.checkpoint import load_yolo, trained_image_size  # noqa: E402
from autoprune.evaluation.dataset import inspect_data  # noqa: E402
from autoprune.evaluation.recalibrate import recalibrate_batchnorm  # noqa: E402
from autoprune.evaluation.training_loss import sample_images  # noqa: E402
from autoprune.evaluation.validate import validate  # noqa: E402
from autoprune.pruning import compensation, obs, prune, statistics  # noqa: E402
from autoprune.pruning.prune import Pruner, uniform_plan  # noqa: E402
from autoprune.pruning.statistics import CalibrationStatistics  # noqa: E402
from autoprune.search.context.calibration_images import calibration_images  # noqa: E402
from autoprune.search.learn.calibration import calibrate  # noqa: E402
from benchmarks.search_quality import sequential  # noqa: E402

RATIOS = (0.15, 0.30, 0.45, 0.60)
ABLATED_RATIOS = (0.30, 0.45)
RIVALS = ("l1", "l2", "l2_bn", "bn_scale", "taylor", "random")
IMAGES = calibration_images(192)
IMAGE_COUNTS = (64, 128, 512)
RIDGES = (0.1, 0.001)
SEQUENTIAL = "obs, compensated in sequence"
TORCH_PRUNING = "torch-pruning, group L2"  # left out where it is not installed

Setting = Callable[[], AbstractContextManager[Any]]


class Bench:
    """The dense model, its data, and mAP of uniformly pruned copies."""

    def __init__(self) -> None:
        self.yolo = load_yolo(demo_checkpoint())
        self.data = inspect_data(demo_data_yaml())
        self.imgsz = max(trained_image_size(self.yolo))
        self.recalibration = sample_images(self.data, IMAGES, seed=0)

    def statistics(self, images: int = IMAGES, *, taylor: bool = False) -> CalibrationStatistics:
        """Collected anew: settings under test are not part of the cache's key."""
        with tempfile.TemporaryDirectory() as cache:
            return calibrate(
                self.yolo.model, self.data, self.imgsz, images, taylor=taylor, cache=Path(cache)
            )

    def score(self, pruner: Pruner, ratio: float, recalibrated: bool) -> float:
        """mAP50-95 on val."""
        return self.score_module(pruner.prune(uniform_plan(pruner.widths, ratio)), recalibrated)

    def score_module(self, module: nn.Module, recalibrated: bool) -> float:
        """mAP50-95 on val."""
        if recalibrated:
            recalibrate_batchnorm(module, self.recalibration, self.imgsz)
        return round(validate(module, self.data, self.data.val, self.imgsz).map50_95, 4)

    def score_in_sequence(self, pruner: Pruner) -> dict[str, Any]:
        """A row of mAP50-95 on val, and the seconds of one prune."""
        images = self.recalibration[: sequential.IMAGES]
        in_sequence = sequential.SequentialPruner(pruner, self.data, images, self.imgsz)
        scores, seconds = {}, []
        for ratio in RATIOS:
            began = time.monotonic()
            module = in_sequence.prune(uniform_plan(pruner.widths, ratio))
            seconds.append(round(time.monotonic() - began, 1))
            scores[str(ratio)] = self.score_module(module, False)
        row = {"method": SEQUENTIAL, "recalibrated": False, "map50_95": scores}
        return row | {"seconds": median(seconds), "images": sequential.IMAGES}

    def score_torch_pruning(self, ratio: float) -> float:
        """mAP50-95 on val of torch-pruning's network, batch norms recalibrated."""
        from benchmarks.search_quality.torch_pruning_rival import prune_uniformly

        size = (self.imgsz, self.imgsz)
        return self.score_module(prune_uniformly(self.yolo.model, size, ratio, 1), True)


_REMOVE, _READERS = obs._Reader.remove, obs._readers


def keep_weights(reader: Any, channel: int) -> None:
    """`_Reader.remove` as in the first experiment: the inverse is updated, the weights are not."""
    at = slice(channel * reader.columns, (channel + 1) * reader.columns)
    before = reader.gram.clone()
    _REMOVE(reader, channel)
    reader.gram.copy_(before)
    reader.gram[:, at] = 0.0
    reader.gram[at, :] = 0.0


def first_reader(*args: Any) -> Iterator[Any]:
    """`obs._readers` without the other convolutions that read the group."""
    return islice(_READERS(*args), 1)


def even_readers(
    group: Any, modules: Any, known: CalibrationStatistics, inverses: Any
) -> Iterator[Any]:
    """`obs._readers` as if an error at any output of any convolution cost the same."""
    even = {name: torch.ones_like(fisher) for name, fisher in known.output_fisher.items()}
    return _READERS(group, modules, replace(known, output_fisher=even), inverses)


def ablations() -> list[tuple[str, int, Setting, Setting]]:
    """(name, images, setting while statistics are collected, setting while pruning)."""
    own = nullcontext
    as_it_is = IMAGES

    def ridge(value: float) -> AbstractContextManager[Any]:
        both = ExitStack()
        both.enter_context(patch.object(obs, "RIDGE", value))
        changed = partial(compensation.Compensator, ridge=value)
        both.enter_context(patch.object(prune, "Compensator", changed))
        return both

    return [
        ("as it is", as_it_is, own, own),
        (
            "every pixel counts the same",
            as_it_is,
            lambda: patch.object(statistics, "GRADIENT_POWER", 0.0),
            own,
        ),
        (
            "covariance over channels only",
            as_it_is,
            lambda: patch.object(statistics, "KERNEL_WIDE_BYTES", 0),
            own,
        ),
        (
            "weights not updated within the order",
            as_it_is,
            own,
            lambda: patch.object(obs._Reader, "remove", keep_weights),
        ),
        (
            "order by the first reader of a channel alone",
            as_it_is,
            own,
            lambda: patch.object(obs, "_readers", first_reader),
        ),
        (
            "order without Fisher information",
            as_it_is,
            own,
            lambda: patch.object(obs, "_readers", even_readers),
        ),
        *((f"ridge {value:g}", as_it_is, own, partial(ridge, value)) for value in RIDGES),
        *((f"{count} images", count, own, own) for count in IMAGE_COUNTS),
    ]


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)
    console, bench = Console(), Bench()
    made = provenance("torch", "ultralytics")
    dense = bench.yolo.model
    dense_map = validate(dense, bench.data, bench.data.val, bench.imgsz).map50_95
    known = bench.statistics(taylor=True)

    methods = [(name, name, False, True) for name in RIVALS]
    methods += [
        ("obs", "obs", False, True),
        ("l2_bn, compensated", "l2_bn", True, False),
        ("obs, compensated", "obs", True, False),
        ("obs, compensated, then recalibrated", "obs", True, True),
    ]
    table = Table("method", "batch norms recalibrated", *(f"{ratio:.2f}" for ratio in RATIOS))
    rows: list[dict[str, Any]] = []
    for name, importance, compensated, recalibrated in methods:
        pruner = Pruner(dense, importance, known, compensated)
        scores = {str(ratio): bench.score(pruner, ratio, recalibrated) for ratio in RATIOS}
        rows.append({"method": name, "recalibrated": recalibrated, "map50_95": scores})
        table.add_row(name, "yes" if recalibrated else "no", *map(str, scores.values()))
    rows.append(bench.score_in_sequence(Pruner(dense, "obs", known, compensated=True)))
    table.add_row(SEQUENTIAL, "no", *map(str, rows[-1]["map50_95"].values()))
    if find_spec("torch_pruning"):
        scores = {str(ratio): bench.score_torch_pruning(ratio) for ratio in RATIOS}
        rows.append({"method": TORCH_PRUNING, "recalibrated": True, "map50_95": scores})
        table.add_row(TORCH_PRUNING, "yes", *map(str, scores.values()))
    console.print(table)

    table = Table("obs, compensated", *(f"{ratio:.2f}" for ratio in ABLATED_RATIOS))
    ablated = []
    for name, images, collecting, pruning in ablations():
        with collecting():
            same = collecting is nullcontext and images == IMAGES
            found = known if same else bench.statistics(images)
        with pruning():
            pruner = Pruner(dense, "obs", found, compensated=True)
            scores = {str(ratio): bench.score(pruner, ratio, False) for ratio in ABLATED_RATIOS}
        ablated.append({"change": name, "map50_95": scores})
        table.add_row(name, *map(str, scores.values()))
    console.print(table)

    content = {
        "claim": "accuracy kept without training",
        "dense": round(dense_map, 4),
        "val_images": len(bench.data.val),
        "calibration_images": IMAGES,
        "imgsz_px": bench.imgsz,
        "rows": rows,
        "ablations": ablated,
        **made,
    }
    console.print(f"written: {save_results('pruning_quality', content).name}")


if __name__ == "__main__":
    main()
