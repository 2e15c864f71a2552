"""probe: what a latency limit asks of a model, known in two minutes without data or training."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from autoprune.demo.bundle import demo_checkpoint
from autoprune.domain.config import StudyConfig
from autoprune.domain.goal import Evidence, Goal, Limit
from autoprune.domain.record import LatencyResult
from autoprune.domain.space import SearchSpace
from autoprune.domain.verdict import Verdict
from autoprune.errors import ConfigError
from autoprune.evaluation.checkpoint import load_yolo, trained_image_size
from autoprune.families import family_of, space_file
from autoprune.latency.denormals import denormals_note
from autoprune.latency.export import ExportedModel, export_model
from autoprune.latency.measure import RuntimeOptions, measure_dense
from autoprune.latency.predictor import PredictorError
from autoprune.latency.runtimes import RUNTIMES
from autoprune.latency.targets import LatencyTarget, target_from
from autoprune.pruning.prune import Pruner, widths_of
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.prepare import check_stride, runtime_options
from autoprune.search.feasibility.alternatives import GLANCE, SIBLINGS, SIZES, timed_options
from autoprune.search.feasibility.decide import verdict_of
from autoprune.search.feasibility.other_runtimes import RuntimeTime, likely_here, other_runtimes
from autoprune.search.learn.learn_latency import learn_latency, shared_folder
from autoprune.search.learn.predicting import DEMO_LIMIT_S
from autoprune.search.learn.stairs import IndexStairs, shown_stairs, space_text, steps_comment
from autoprune.search.learn.target_space import steps_or_all
from autoprune.storage.scratch import scratch_folder
from autoprune.storage.yaml_io import write_atomic

IMPORTANCE = "l2_bn"  # neutral: it looks at weights alone
LIMIT_S = 110.0  # for everything; what is spent before and needed after comes off the learning


@dataclass(frozen=True)
class ProbeResult:
    """What was found out.

    Attributes:
        imgsz: Height and width in pixels.
        dense: Latency of the model as it is.
        limit_ms: The latency limit asked for, if any.
        block: Channels that count together on this target, as learned.
        error: Of the latency predictor.
        stairs: Predicted latency against the width of one typical convolution.
        step_space: The search space with only those widths that waste nothing here.
        verdict: Whether pruning can meet the limit, and what was timed to know: the floor, a plan
            for the limit, smaller siblings and image sizes, the stock export.
        seconds: How long all this took.
        runtimes: The dense model under the table's other runtimes.
    """

    imgsz: tuple[int, int]
    dense: LatencyResult
    limit_ms: float | None
    block: int
    error: PredictorError
    stairs: IndexStairs
    step_space: SearchSpace
    verdict: Verdict
    seconds: float
    runtimes: tuple[RuntimeTime, ...] = ()

    def space_yaml(self) -> str:
        """`step_space` as the text of a search-space YAML."""
        comment = steps_comment(self.dense.fingerprint, self.imgsz, self.block)
        return space_text(self.step_space, comment)


@dataclass(frozen=True)
class _Loaded:
    """The model, the target and the space of one probe."""

    config: StudyConfig
    pruner: Pruner
    space: SearchSpace
    imgsz: tuple[int, int]
    target: LatencyTarget
    options: RuntimeOptions

    def export(
        self, module: nn.Module, folder: Path, rewritten: bool = True, runtime: str | None = None
    ) -> ExportedModel:
        """Write a runtime's file, by default the asked one's, into `folder`; see `export_model`."""
        row = self.options.row if runtime is None else RUNTIMES.row(runtime, "--runtime")
        path = folder / f"model{row.suffix}"
        return export_model(module, path, self.imgsz, row.name, rewritten=rewritten)


@dataclass(frozen=True)
class _Timed(_Loaded):
    """The same once the dense model is measured; see `OptionsBench`."""

    dense_export: ExportedModel
    dense_latency: LatencyResult


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
    loaded = _loaded(config, target)
    with scratch_folder("probe") as own:
        folder = Path(own)
        listener.candidate("dense model", None, None)
        listener.stage("latency")
        exporting = time.monotonic()
        dense = loaded.export(loaded.pruner.model, folder / "dense")
        export_s = time.monotonic() - exporting
        latency = measure_dense(loaded.target, dense, loaded.options, GLANCE)
        bench = _Timed(**vars(loaded), dense_export=dense, dense_latency=latency)
        listener.say(f"Dense: {latency.median_ms:.2f} ms.")
        if note := denormals_note(dense.denormals, loaded.options):
            listener.say(f"Note: {note}.")
        others = likely_here(bench.options)
        after_s = (3 + SIBLINGS + SIZES + others) * export_s + (3 + others) * GLANCE.cap_s
        left_s = LIMIT_S - (time.monotonic() - began) - after_s
        limit_s = max(0.0, min(DEMO_LIMIT_S, left_s))
        predictor = learn_latency(bench, shared_folder(bench), listener, limit_s)
        step_space = steps_or_all(bench.pruner, bench.space, predictor)
        if config.space is None:  # as a search without --space would
            bench = replace(bench, space=step_space)
        limit = None if goal is None else Limit(goal, latency.median_ms, 0.0)
        met = limit is not None and limit.judge_latency(latency) >= Evidence.INTERVAL
        listener.say("Timing the floor, smaller siblings and smaller images beside the model.")
        listener.candidate("alternatives", None, None)
        listener.stage("latency")
        asked_ms = None if met or limit is None else limit.latency_ms
        dense_again, options = timed_options(bench, predictor, asked_ms, folder)
        runtimes = other_runtimes(bench, bench.pruner.model, folder, listener)
    if goal is not None:  # a speed-up is over what the dense model takes now
        limit = Limit(goal, dense_again.median_ms, 0.0)
    result = ProbeResult(
        imgsz=bench.imgsz,
        dense=dense_again,
        limit_ms=None if limit is None else limit.latency_ms,
        block=predictor.staircase.block,
        error=predictor.error,
        stairs=shown_stairs(bench.pruner, bench.space, predictor),
        step_space=step_space,
        verdict=verdict_of(limit, dense_again, options),
        seconds=time.monotonic() - began,
        runtimes=runtimes,
    )
    if write_space is not None:
        write_atomic(write_space, result.space_yaml())
    return result


def _loaded(config: StudyConfig, target: LatencyTarget | None) -> _Loaded:
    target = target or target_from(config.target, config.target_python)
    yolo = load_yolo(
        config.model or demo_checkpoint(), trust=config.trust_checkpoint, nms=config.nms
    )
    imgsz = config.imgsz or trained_image_size(yolo)
    check_stride(yolo, imgsz)
    widths, family = widths_of(yolo.model), family_of(yolo.model)
    return _Loaded(
        config=config,
        pruner=Pruner(yolo.model, IMPORTANCE),
        space=SearchSpace.load(config.space or space_file(family), widths, config.protect),
        imgsz=imgsz,
        target=target,
        options=runtime_options(config, imgsz),
    )
