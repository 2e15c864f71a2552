"""probe: what a latency limit asks of a model, known in two minutes without data or training."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from autoprune.config import Goal, StudyConfig
from autoprune.demo.bundle import demo_checkpoint
from autoprune.errors import ConfigError
from autoprune.evaluation.checkpoint import load_yolo, trained_image_size
from autoprune.families import family_of
from autoprune.families.siblings import smaller_siblings
from autoprune.latency.export import ExportedModel, export_model
from autoprune.latency.measure import RuntimeOptions, TimingSettings, compare, measure_dense
from autoprune.latency.predictor import LatencyPredictor, PredictorError
from autoprune.latency.targets import LatencyTarget, target_from
from autoprune.plan import PruningPlan
from autoprune.pruning.prune import Pruner
from autoprune.record import LatencyResult
from autoprune.search.latency_table import DEMO_LIMIT_S, learn_latency, shared_folder
from autoprune.search.listener import SearchListener
from autoprune.search.prepare import check_stride, default_space, runtime_options
from autoprune.search.profile import Profile
from autoprune.search.solver import cheapest_plan
from autoprune.search.stairs import IndexStairs, shown_stairs, space_text, steps_comment
from autoprune.search.target_space import steps_or_all
from autoprune.search.verdict import Option, OptionKind, Verdict, verdict_of
from autoprune.space import SearchSpace
from autoprune.yaml_io import write_atomic

IMPORTANCE = "l2_bn"  # neutral: it looks at weights alone
AIM = 0.96  # of the limit, for the proposed plan: predictions miss by a percent or two
SIBLINGS = SIZES = 2  # at most, of each
LIMIT_S = 110.0  # for everything; what is spent before and needed after comes off the learning
_GLANCE = TimingSettings(min_blocks=12, min_s=0.5, dense_s=2.0, cap_s=5.0)


@dataclass(frozen=True)
class ProbeResult:
    """What was found out.

    Attributes:
        imgsz: Height and width in pixels.
        dense: Latency of the model as it is.
        limit_ms: The latency limit asked for, if any.
        options: What was timed beside it: the floor, a plan for the limit, smaller siblings and
            image sizes.
        block: Channels that count together on this target, as learned.
        error: Of the latency predictor.
        stairs: Predicted latency against the width of one typical convolution.
        step_space: The search space with only those widths that waste nothing here.
        verdict: Whether pruning can meet the limit.
        seconds: How long all this took.
    """

    imgsz: tuple[int, int]
    dense: LatencyResult
    limit_ms: float | None
    options: tuple[Option, ...]
    block: int
    error: PredictorError
    stairs: IndexStairs
    step_space: SearchSpace
    verdict: Verdict
    seconds: float

    def space_yaml(self) -> str:
        """`step_space` as the text of a search-space YAML."""
        comment = steps_comment(self.dense.fingerprint, self.imgsz, self.block)
        return space_text(self.step_space, comment)


@dataclass(frozen=True)
class _Bench:
    """The model, the target and the space of one probe; see `LatencyBench`."""

    config: StudyConfig
    pruner: Pruner
    space: SearchSpace
    imgsz: tuple[int, int]
    target: LatencyTarget
    options: RuntimeOptions
    dense_export: ExportedModel | None = None
    dense_latency: LatencyResult | None = None

    def export(self, module: nn.Module, folder: Path) -> ExportedModel:
        """Write the runtime's file for a module into `folder`."""
        suffix = "onnx" if self.options.runtime == "onnxruntime" else "pt2"
        return export_model(module, folder / f"model.{suffix}", self.imgsz, self.options.runtime)


class _Cropped(nn.Module):
    """A model at a smaller image size that takes the full size: so both are timed interleaved."""

    def __init__(self, model: nn.Module, imgsz: tuple[int, int]) -> None:
        super().__init__()
        self.model, self.imgsz = model, imgsz

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Cut the corner out (a copy, some 0.2 % of the time) and run the model on it."""
        height, width = self.imgsz
        found: torch.Tensor = self.model(image[:, :, :height, :width].contiguous())
        return found


def probe(
    config: StudyConfig,
    goal: Goal | None,
    listener: SearchListener,
    target: LatencyTarget | None = None,
    write_space: Path | None = None,
) -> ProbeResult:
    """Measure the dense model, learn the target's stairs, and judge the limit.

    Args:
        config: Model (None: the demo), image size, space, runtime, threads, target, protected
            indices and seed; all else is ignored.
        goal: The latency limit; None just looks.
        listener: Told about progress.
        target: Where latency is measured, instead of what `config.target` names.
        write_space: File to write the space on this target's steps to.

    Raises:
        ConfigError, UnsupportedModel: Wrong input, before any measurement.
        TrialFailed: The model cannot be exported or timed.
        TargetUnreachable: The device does not answer.
    """
    began = time.monotonic()
    if write_space is not None and write_space.exists():
        raise ConfigError.of("--write-space", "", str(write_space), "a file that is not there yet")
    bench = _prepared(config, target)
    with tempfile.TemporaryDirectory(prefix="autoprune-probe-") as own:
        folder = Path(own)
        listener.candidate("dense model", None, None)
        listener.stage("latency")
        exporting = time.monotonic()
        dense = bench.export(bench.pruner.model, folder / "dense")
        export_s = time.monotonic() - exporting
        latency = measure_dense(bench.target, dense, bench.options, _GLANCE)
        bench = replace(bench, dense_export=dense, dense_latency=latency)
        listener.say(f"Dense: {latency.median_ms:.2f} ms.")
        after_s = (2 + SIBLINGS + SIZES) * export_s + 3 * _GLANCE.cap_s
        left_s = LIMIT_S - (time.monotonic() - began) - after_s
        limit_s = max(0.0, min(DEMO_LIMIT_S, left_s))
        predictor = learn_latency(bench, shared_folder(bench), listener, limit_s)
        step_space = steps_or_all(bench.pruner, bench.space, predictor)
        if config.space is None:  # as a search without --space would
            bench = replace(bench, space=step_space)
        limit_ms = None if goal is None else goal.budget_ms(latency.median_ms)
        if limit_ms is not None and latency.high_ms <= limit_ms:
            plans = _plans(bench, predictor, None)  # nothing to look for
        else:
            plans = _plans(bench, predictor, limit_ms and limit_ms / latency.median_ms)
        listener.say("Timing the floor, smaller siblings and smaller images beside the model.")
        listener.candidate("alternatives", None, None)
        listener.stage("latency")
        dense_again, options = _timed(bench, plans, limit_ms, folder)
    if goal is not None:
        limit_ms = goal.budget_ms(dense_again.median_ms)  # a speed-up is over what it is now
    floor = options[0]
    plan = next((option for option in options if option.kind == "plan"), None)
    others = [option for option in options if option.kind in ("sibling", "image size")]
    result = ProbeResult(
        imgsz=bench.imgsz,
        dense=dense_again,
        limit_ms=limit_ms,
        options=options,
        block=predictor.staircase.block,
        error=predictor.error,
        stairs=shown_stairs(bench.pruner, bench.space, predictor),
        step_space=step_space,
        verdict=verdict_of(limit_ms, dense_again, floor, plan, others),
        seconds=time.monotonic() - began,
    )
    if write_space is not None:
        write_atomic(write_space, result.space_yaml())
    return result


def smaller_sizes(
    imgsz: tuple[int, int], stride: int, share: float | None
) -> list[tuple[int, int]]:
    """Image sizes worth timing: for a limit, the largest one likely within it and the next.

    Args:
        imgsz: Height and width in pixels.
        stride: Sides are multiples of it.
        share: The limit as a share of the dense latency, which goes with the area; None for none.
    """
    scale = 0.8 if share is None or share >= 1 else share**0.5
    longest = min(int(max(imgsz) * scale) // stride * stride, max(imgsz) - stride)
    step = max(stride, longest // 5 // stride * stride)
    found = [
        tuple(max(stride, round(side * longer / max(imgsz) / stride) * stride) for side in imgsz)
        for longer in (longest, longest - step)
        if longer >= stride
    ]
    return [(height, width) for height, width in dict.fromkeys(found)][:SIZES]


def _prepared(config: StudyConfig, target: LatencyTarget | None) -> _Bench:
    target = target or target_from(config.target, config.target_python)
    yolo = load_yolo(config.model or demo_checkpoint(), trust=config.trust_checkpoint)
    imgsz = config.imgsz or trained_image_size(yolo)
    check_stride(yolo, imgsz)
    widths = family_of(yolo.model).widths(yolo.model)
    return _Bench(
        config=config,
        pruner=Pruner(yolo.model, IMPORTANCE),
        space=SearchSpace.load(config.space or default_space(), widths, config.protect),
        imgsz=imgsz,
        target=target,
        options=runtime_options(config, imgsz),
    )


def _plans(
    bench: _Bench, predictor: LatencyPredictor, limit_ratio: float | None
) -> dict[OptionKind, PruningPlan]:
    """The strongest plan and, if the limit can be met by prediction, the cheapest one for it."""
    floor = {name: offered[0] for name, offered in bench.space.choices.items()}
    plans: dict[OptionKind, PruningPlan] = {"floor": bench.space.plan(floor)}
    if limit_ratio is None:
        return plans
    profile = Profile.of(bench.pruner, bench.space, predictor)
    positions = cheapest_plan(profile, np.ones(len(profile.names)), AIM * limit_ratio)
    if profile.latency_ratios(positions[None])[0] <= AIM * limit_ratio:
        plans["plan"] = bench.space.plan(profile.kept(positions))
    return plans


def _timed(
    bench: _Bench, plans: dict[OptionKind, PruningPlan], limit_ms: float | None, folder: Path
) -> tuple[LatencyResult, tuple[Option, ...]]:
    """Time everything interleaved with the dense model, in one process."""
    assert bench.dense_export is not None
    assert bench.dense_latency is not None
    share = limit_ms and limit_ms / bench.dense_latency.median_ms
    rows = [*_pruned(bench, plans), *_others(bench, share)]
    models = [
        bench.export(module, folder / str(number)) for number, (*_, module) in enumerate(rows)
    ]
    dense, *results = compare(bench.target, [bench.dense_export, *models], bench.options, _GLANCE)
    options = tuple(
        Option(kind, name, latency, _params(module), removed, plans.get(kind))
        for (kind, name, removed, module), latency in zip(rows, results, strict=True)
    )
    return dense, options


def _pruned(
    bench: _Bench, plans: dict[OptionKind, PruningPlan]
) -> Iterator[tuple[OptionKind, str, float | None, nn.Module]]:
    names = {"floor": "floor: all at strongest", "plan": "cheapest plan"}
    channels = sum(group.width for group in bench.pruner.groups)
    for kind, plan in plans.items():
        removed = 1 - sum(bench.pruner.signature(plan)) / channels
        yield kind, names[kind], removed, bench.pruner.prune(plan)


def _others(
    bench: _Bench, share: float | None
) -> Iterator[tuple[OptionKind, str, float | None, nn.Module]]:
    model = bench.pruner.model
    for name, sibling in smaller_siblings(model, SIBLINGS):
        yield "sibling", name, None, sibling
    stride = int(max(torch.as_tensor(model.stride).tolist()))
    for size in smaller_sizes(bench.imgsz, stride, share):
        yield "image size", f"{size[0]}x{size[1]} px", None, _Cropped(model, size)


def _params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
