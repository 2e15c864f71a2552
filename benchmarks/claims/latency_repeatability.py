"""Claim: a model timed against itself gives 1.00 within 1 %, and a 5 % difference is found.

    python benchmarks/claims/latency_repeatability.py [--pairs 60] [--model FILE] [--imgsz N]

The demo's model is timed beside a second copy of itself, and beside a copy that is kept busy 5 %
longer in every run, as a search times its candidates: blocks in the order ABBA, until the interval
is within +-1 % or 10 s have passed. That is done on the machine as it is, and beside one and two
processes that multiply matrices without pause. Several estimators are computed from the same raw
times; the last row times the two models in processes of their own, one after the other.

For a machine that becomes 30 % slower, the recorded times after a random moment are multiplied by
1.3: how often is that noticed, and how often is it suspected in times left as they were?
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import checkout  # noqa: F401
import numpy as np
from rich.console import Console
from rich.table import Table

from autoprune.demo.bundle import demo_checkpoint
from autoprune.domain.record import LASTING_CHANGE_ALLOWED
from autoprune.evaluation.checkpoint import load_yolo, trained_image_size
from autoprune.evaluation.quiet import prepare_environment
from autoprune.latency.estimate import lasting_change, ratio_to
from autoprune.latency.export import ExportedModel, export_model
from autoprune.latency.local_target import LocalTarget
from autoprune.latency.options import RuntimeOptions, TimingSettings
from autoprune.latency.runner import counted_ms, median_interval
from autoprune.latency.runner_output import checked_output
from benchmarks.lib.provenance import provenance, save_results

Array = np.ndarray[Any, Any]
Interval = tuple[float, float, float]

BURDEN = 0.05
NEIGHBOURS = (0, 1, 2)
SLOWER = 1.3
NEIGHBOUR = """
import numpy
matrix = numpy.random.default_rng(0).random((256, 256), dtype=numpy.float32)
while True:
    matrix @ matrix
"""


@dataclass(frozen=True)
class Pair:
    """Raw times of the dense model and of a candidate beside it, (blocks, runs) in ms."""

    wall: tuple[Array, Array]
    cpu: tuple[Array, Array]
    seconds: float

    @property
    def counted(self) -> tuple[Array, Array]:
        """What the product counts: see `counted_ms`."""
        wall, cpu = ([blocks.tolist() for blocks in times] for times in (self.wall, self.cpu))
        return counted_ms(wall[0], cpu[0]), counted_ms(wall[1], cpu[1])


def of_blocks(
    clock: str, summary: Callable[[Array], Array], keep: Callable[[Pair], Any] | None = None
) -> Callable[[Pair], Interval]:
    """Median over neighbouring blocks of the ratio of their summaries, bootstrapped."""

    def estimate(pair: Pair) -> Interval:
        dense, candidate = (np.log(summary(times)) for times in getattr(pair, clock))
        ratios = candidate - dense
        if keep is not None:
            ratios = ratios[keep(pair)]
        value, low, high = np.exp(median_interval(ratios))
        return float(value), float(low), float(high)

    return estimate


def of_all(clock: str, summary: Callable[[Array], Any]) -> Callable[[Pair], Interval]:
    """The ratio of two summaries of all runs, whole blocks bootstrapped."""

    def estimate(pair: Pair) -> Interval:
        dense, candidate = getattr(pair, clock)
        dice = np.random.default_rng(0)
        drawn = []
        for _ in range(200):
            one, two = (dice.integers(0, len(dense), len(dense)) for _ in range(2))
            drawn.append(summary(candidate[one]) / summary(dense[two]))
        low, high = np.quantile(drawn, (0.025, 0.975))
        return float(summary(candidate) / summary(dense)), float(low), float(high)

    return estimate


def quantile(share: float) -> Callable[[Array], Array]:
    """Per block."""
    return lambda blocks: np.asarray(np.quantile(blocks, share, axis=1))


def product(pair: Pair) -> Interval:
    """As autoprune reports it."""
    found = ratio_to(*pair.counted)
    return found.value, found.low, found.high


def uncontended(pair: Pair) -> Array:
    """Pairs of blocks that had a core of their own nearly all the time; all if those are few."""
    shares = [
        wall.sum(axis=1) / cpu.sum(axis=1) for wall, cpu in zip(pair.wall, pair.cpu, strict=True)
    ]
    found = np.maximum(*shares) < 1.03
    return found if found.sum() >= 8 else np.ones_like(found)


def dense_first(pair: Pair) -> Array:
    """The AB halves of ABBA: half of the data."""
    first: Array = np.arange(len(pair.wall[0])) % 2 == 0
    return first


PRODUCT = "the same, averaged over ABBA, interval with the placement in memory"
ESTIMATORS: dict[str, Callable[[Pair], Interval]] = {
    "all runs, mean, wall time": of_all("wall", np.mean),
    "all runs, median, wall time": of_all("wall", np.median),
    "all runs, minimum, wall time": of_all("wall", np.min),
    "blocks, median, wall time": of_blocks("wall", quantile(0.5)),
    "blocks, 25 % quantile, wall time": of_blocks("wall", quantile(0.25)),
    "blocks, 25 % quantile, wall time, contended blocks left out": of_blocks(
        "wall", quantile(0.25), uncontended
    ),
    "all runs, median, processor time": of_all("counted", np.median),
    "blocks, median, processor time": of_blocks("counted", quantile(0.5)),
    "blocks, minimum, processor time": of_blocks("counted", quantile(0.0)),
    "blocks, 25 % quantile, processor time, AB half only": of_blocks(
        "counted", quantile(0.25), dense_first
    ),
    "blocks, 25 % quantile, processor time": of_blocks("counted", quantile(0.25)),
    PRODUCT: product,
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--pairs", type=int, default=60)
    arguments.add_argument("--model", type=Path, default=demo_checkpoint())
    arguments.add_argument("--imgsz", type=int)
    asked = arguments.parse_args()
    prepare_environment()
    console = Console()
    made = provenance("onnxruntime", "numpy")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        yolo = load_yolo(asked.model)
        imgsz = (asked.imgsz,) * 2 if asked.imgsz else trained_image_size(yolo)
        model = export_model(yolo.model, Path(folder) / "model.onnx", imgsz, "onnxruntime")
        options = RuntimeOptions("onnxruntime", imgsz)
        for count in NEIGHBOURS:
            with neighbours(count):
                rows.append(row(model, options, asked.pairs, count))
            show(rows[-1], console)
    content = {
        "claim": "repeatability of latency",
        "model": asked.model.name,
        "imgsz": list(imgsz),
        "pairs": asked.pairs,
        "burden": BURDEN,
        "product": PRODUCT,
        "slower": SLOWER,
        "rows": rows,
    }
    console.print(f"written: {save_results('latency_repeatability', content | made).name}")


@contextlib.contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Processes that keep as many cores busy."""
    environment = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    running = [
        subprocess.Popen([sys.executable, "-c", NEIGHBOUR], env=environment) for _ in range(count)
    ]
    try:
        time.sleep(2 if count else 0)
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def row(model: ExportedModel, options: RuntimeOptions, pairs: int, count: int) -> dict[str, Any]:
    """All measurements beside `count` neighbours, and what each estimator makes of them."""
    settings = TimingSettings()
    dense_ms = float(np.quantile(timed(model, options, settings, 1).wall[0], 0.25))
    same, slower = [], []
    alone: list[float] = []
    for _ in range(pairs):
        same.append(timed(model, options, settings, 2))
        burdened = replace(settings, burden_s=BURDEN * dense_ms / 1e3)
        slower.append(timed(model, options, burdened, 2))
        alone.append(float(np.median(timed(model, options, settings, 1).wall[0])))
    estimators = [
        {"name": name, **judged(list(map(estimate, same)), list(map(estimate, slower)))}
        for name, estimate in ESTIMATORS.items()
    ]
    apart = np.array(alone[1:]) / np.array(alone[:-1])
    estimators.append(
        {
            "name": "each in a process of its own, median, wall time",
            "error_95": float(np.quantile(abs(apart - 1), 0.95)),
            "bias": float(np.median(apart) - 1),
            "found": None,
            "false_alarms": None,
        }
    )
    return {
        "neighbours": count,
        "dense_ms": dense_ms,
        "seconds": float(np.median([pair.seconds for pair in same])),
        "seconds_most": float(max(pair.seconds for pair in same)),
        "estimators": estimators,
        **changes([*same, *slower]),
    }


def timed(
    model: ExportedModel, options: RuntimeOptions, settings: TimingSettings, models: int
) -> Pair:
    """Time the model, alone or beside itself, as the product does; the raw times."""
    began = time.monotonic()
    job = options.as_job() | {
        "dense": str(model.path),
        "candidates": [str(model.path)] * (models - 1),
        "timing": settings.as_job(),
        "checks": [],
    }
    limit_s = settings.cap_s + settings.load_s
    output = checked_output(LocalTarget().run(job, [model.path], limit_s), models, 0)
    walls, cpus = [], []
    for times in (output.models[0], output.models[-1]):
        if times.cpu_ms is None:
            sys.exit("processor time cannot be read here: nothing to compare")
        walls.append(np.array(times.wall_ms))
        cpus.append(np.array(times.cpu_ms))
    return Pair((walls[0], walls[1]), (cpus[0], cpus[1]), time.monotonic() - began)


def judged(same: list[Interval], slower: list[Interval]) -> dict[str, float]:
    """How far A/A ratios are from 1, and how often intervals see a difference."""
    ratios = np.array([value for value, _, _ in same])
    return {
        "error_95": float(np.quantile(abs(ratios - 1), 0.95)),
        "bias": float(np.median(ratios) - 1),
        "found": float(np.mean([low > 1 for _, low, _ in slower])),
        "false_alarms": float(np.mean([low > 1 or high < 1 for _, low, high in same])),
    }


def changes(pairs: list[Pair]) -> dict[str, float]:
    """How often a lasting change is noticed where there is one, and suspected where not."""
    dice = np.random.default_rng(0)
    noticed, suspected = [], []
    for pair in pairs:
        dense, _ = pair.counted
        suspected.append(lasting_change(dense) > LASTING_CHANGE_ALLOWED)
        moment = int(len(dense) * dice.uniform(0.25, 0.75))
        slowed = np.concatenate([dense[:moment], SLOWER * dense[moment:]])
        noticed.append(lasting_change(slowed) > LASTING_CHANGE_ALLOWED)
    return {
        "change_noticed": float(np.mean(noticed)),
        "change_suspected": float(np.mean(suspected)),
    }


def show(row: dict[str, Any], console: Console) -> None:
    """One condition's table."""
    table = Table("estimator", "A/A error, 95 %", "bias", "5 % found", "false alarms")
    for each in row["estimators"]:
        shares = [
            "-" if each[key] is None else f"{each[key]:.0%}" for key in ("found", "false_alarms")
        ]
        table.add_row(each["name"], f"{each['error_95']:.2%}", f"{each['bias']:+.2%}", *shares)
    console.print(f"{row['neighbours']} neighbours, dense {row['dense_ms']:.2f} ms")
    console.print(f"{row['seconds']:.1f} s each, at most {row['seconds_most']:.1f} s")
    console.print(f"30 % slower: noticed {row['change_noticed']:.0%}")
    console.print(f"as recorded: suspected {row['change_suspected']:.0%}")
    console.print(table)


if __name__ == "__main__":
    main()
