"""What every part of `benchmarks.search_quality` works on: a prepared study of one data set."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from torch import nn

from autoprune.domain.config import StudyConfig
from autoprune.domain.goal import Goal
from autoprune.domain.plan import PruningPlan
from autoprune.domain.record import SHORT, DetectionMetrics, LatencyResult
from autoprune.domain.stages import CALIBRATION
from autoprune.errors import ConfigError, TrialFailed
from autoprune.evaluation.quiet import quiet
from autoprune.evaluation.validate import validate
from autoprune.latency.predictor import LatencyPredictor
from autoprune.pruning.size import model_size
from autoprune.pruning.trace_geometry import model_geometry
from autoprune.search.context.budget import Budget
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.prepare import check
from autoprune.search.context.workbench import Informed
from autoprune.search.evaluate.training import train_and_score
from autoprune.search.learn.calibration import calibrated
from autoprune.search.learn.dense import measured
from autoprune.search.learn.learn_latency import learn_latency, shared_folder
from autoprune.search.learn.profile import Profile
from benchmarks.search_quality.second_set import second_checkpoint, second_data_yaml

LEARNING_S = 120.0  # seconds for learning to predict latency, at most
LEVELS = (0.75, 0.6, 0.45, 0.3)  # of the dense latency
ANY_PLAN = Goal(kind="max_drop", value=100.0)  # sets no latency limit: every plan is scored

Array = np.ndarray[Any, Any]


class Spoken(SearchListener):
    """Prints what the search would say to its user."""

    def say(self, text: str) -> None:
        """See SearchListener."""
        print(text, flush=True)


@dataclass(frozen=True)
class Quality:
    """One data set's model, measured, with everything the search knows before its first trial.

    Attributes:
        bench: With the shipped space, and without a latency limit.
        listener: Hears what is done.
    """

    bench: Informed
    listener: SearchListener

    @cached_property
    def profile(self) -> Profile:
        """Costs and predicted latencies of the shipped space."""
        return Profile.of(self.bench.pruner, self.bench.space, self.bench.predictor)

    @cached_property
    def dense_scores(self) -> dict[str, Any]:
        """The dense model's size, mAP50-95 on val and test, and latency in ms."""
        bench, dense = self.bench, self.bench.dense
        size = model_size(bench.yolo.model, bench.imgsz)
        return {
            "params": size.params,
            "macs": size.macs,
            "val": rounded(dense.map50_95),
            "test": rounded(dense.final.map50_95 if dense.final else None),
            "ms": rounded(bench.dense_latency.median_ms),
        }

    def signatures(self, plans: list[PruningPlan]) -> Array:
        """Kept channels of every group, (plans, groups)."""
        return np.array([self.bench.pruner.signature(plan) for plan in plans])

    def predicted_ratio(self, plan: PruningPlan) -> float:
        """Latency relative to dense, by the predictor."""
        return float(self.bench.predictor.predict(self.signatures([plan]))[0])

    def measure(self, module: nn.Module, name: str) -> LatencyResult:
        """Time a module against the dense one."""
        folder = self.bench.folder.root / "measured" / name
        with quiet(folder / "log.txt"):
            return self.bench.measure(module, folder)

    def score(self, module: nn.Module, images: tuple[Path, ...]) -> DetectionMetrics:
        """Accuracy of a module on `images`."""
        bench = self.bench
        with quiet(bench.folder.root / "log.txt"):
            return validate(module, bench.data, images, bench.train_size, bench.device)


def open_quality(name: str, scratch: Path) -> Quality:
    """Prepare, measure and learn, or take up what another run left in `scratch`.

    Raises:
        ConfigError: The second set's dense model was not trained yet.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(scratch / f"{name}.lock"):  # one measures, on a quiet machine
        return _opened(name, scratch)


def _opened(name: str, scratch: Path) -> Quality:
    listener = Spoken()
    config = StudyConfig(goal=ANY_PLAN, name=f"search-quality-{name}")
    if name == "second":
        checkpoint = second_checkpoint(scratch)
        if not (checkpoint.parent.parent / "done").exists():
            raise ConfigError(
                "the dense model is missing: run `python -m benchmarks.search_quality train` first"
            )
        changes = {"model": checkpoint, "data": second_data_yaml(scratch)}
        config = config.model_copy(update=changes)
    known = measured(check(config, scratch, listener), listener)
    bench = calibrated(known, Budget(None).open(CALIBRATION), listener)
    if bench.folder.predictor.exists():
        geometry = model_geometry(bench.pruner.model, bench.pruner.groups, bench.imgsz)
        predictor = LatencyPredictor.load(bench.folder.predictor, geometry)
    else:
        predictor = learn_latency(bench, shared_folder(bench), listener, LEARNING_S)
        predictor.save(bench.folder.predictor)
    return Quality(bench.grown(Informed, predictor=predictor), listener)


def fine_tuned_scores(
    quality: Quality,
    module: nn.Module,
    untrained: float,
    folder: str,
    seed: int = 0,
    rung: int = SHORT,
    changes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """mAP50-95 after a fine-tune on val and test; 0 for a network that collapsed in it.

    Args:
        quality: The prepared study.
        module: A pruned network.
        untrained: Its mAP50-95 as it is, which sets the learning rate.
        folder: Of the run, for its log.
        seed: Of the fine-tune.
        rung: SHORT or LONG.
        changes: Settings other than the short fine-tune's.
    """
    bench = quality.bench
    root = bench.folder.root / "fine-tuned" / folder
    settings = bench.fine_tune.after_losing(1 - untrained / (bench.limit.dense_map or 1.0))
    settings = replace(settings, seed=seed, **(changes or {}))
    try:
        with quiet(root / "log.txt"):
            trained, score = train_and_score(
                bench, module, untrained, root, quality.listener, settings, rung
            )
    except TrialFailed as failure:  # not finite: as useless as a network that finds nothing
        print(f"{folder}: {failure}")
        return {"val": 0.0, "test": 0.0}
    test = quality.score(trained, bench.data.final_images)
    return {
        "val": rounded(score.metrics.map50_95),
        "test": rounded(test.map50_95),
        "lr0": rounded(score.lr0, 6),
    }


class Timer:
    """Whether another item fits before a deadline, going by the longest of its kind so far."""

    FIRST_GUESS_S = 60.0  # until one has been timed

    def __init__(self, stop_at: float | None) -> None:
        self.stop_at = stop_at
        self.longest: dict[str, float] = {}

    def allows(self, kind: str) -> bool:
        """Whether an item of this kind would, as far as is known, end in time."""
        needed_s = self.longest.get(kind, self.FIRST_GUESS_S)
        return self.stop_at is None or self.stop_at - time.monotonic() >= needed_s

    @contextlib.contextmanager
    def of(self, kind: str) -> Iterator[None]:
        """Time one item."""
        began = time.monotonic()
        yield
        taken_s = time.monotonic() - began
        self.longest[kind] = max(self.longest.get(kind, 0.0), taken_s)


def rounded(value: float | None, digits: int = 4) -> float | None:
    """A number short enough for a committed file."""
    return None if value is None else round(value, digits)


def latency_row(latency: LatencyResult) -> dict[str, Any]:
    """Ratio to dense with its 95 % interval, and whether it was steady; no raw samples."""
    return {
        "ratio": rounded(latency.ratio),
        "ratio_low": rounded(latency.ratio_low),
        "ratio_high": rounded(latency.ratio_high),
        "steady": latency.steady,
    }
