"""Measures exported models on a target, interleaved with the dense one.

"ms" is one forward pass at batch 1 in the runtime, without pre- and post-processing. With one
thread on a CPU, the time a run spends waiting while another program has the core is not counted:
it is the time the model takes on a core of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoprune.domain.record import LASTING_CHANGE_ALLOWED, Fingerprint, LatencyResult
from autoprune.errors import ConfigError, StudyMismatch, TrialFailed
from autoprune.latency.estimate import (
    EXACTLY_ONE,
    Interval,
    lasting_change,
    ratio_to,
    tail_factor,
    typical_ms,
)
from autoprune.latency.exported_model import ExportedModel
from autoprune.latency.options import RuntimeOptions, TimingSettings
from autoprune.latency.runner import counted_ms
from autoprune.latency.runner_output import ModelTimes, RunnerOutput, checked_output
from autoprune.latency.targets import LatencyTarget

__all__ = [
    "RuntimeOptions",
    "TimingSettings",
    "check_answers",
    "check_loads",
    "compare",
    "measure_against",
    "measure_dense",
    "refuse_other_fingerprint",
]

_FEWEST_BLOCKS = 6  # below, a bootstrapped interval means little


def measure_dense(
    target: LatencyTarget,
    dense: ExportedModel,
    options: RuntimeOptions,
    settings: TimingSettings,
) -> LatencyResult:
    """Calibrate the dense model's own time; its ratio is exactly 1.

    Raises:
        ConfigError: The target lacks the runtime or the provider.
        TrialFailed: "export" when its output is not torch's, or as `LatencyTarget.run`.
        TargetUnreachable: The device is gone.
    """
    output = _steady(target, [dense], [dense], options, settings.for_dense())
    return _dense_result(output, settings)


def measure_against(
    target: LatencyTarget,
    candidate: ExportedModel,
    dense: ExportedModel,
    dense_result: LatencyResult,
    options: RuntimeOptions,
    settings: TimingSettings,
) -> LatencyResult:
    """Time a candidate interleaved with the dense model.

    Its median is the ratio just measured times the calibrated dense time, and its interval holds
    the error of both.

    Args:
        target: The target that measured `dense_result`.
        candidate: The model to time.
        dense: The model that `dense_result` belongs to.
        dense_result: What `measure_dense` returned.
        options: The same as for `dense_result`.
        settings: How long to measure.

    Raises:
        StudyMismatch: The dense time is from another machine, runtime or setting.
        ConfigError: The target lacks the runtime or the provider.
        TrialFailed: "export" when the output is not torch's, or as `LatencyTarget.run`.
        TargetUnreachable: The device is gone.
    """
    settings = replace(settings, run_s=dense_result.median_ms / 1e3)
    output = _steady(target, [dense, candidate], [candidate], options, settings)
    refuse_other_fingerprint(dense_result.fingerprint, _fingerprint(output))
    return _relative_result(output, 1, dense_result, settings)


def compare(
    target: LatencyTarget,
    models: Sequence[ExportedModel],
    options: RuntimeOptions,
    settings: TimingSettings | None = None,
    known: LatencyResult | None = None,
) -> tuple[LatencyResult, ...]:
    """Time several models interleaved in one process; the first is the reference of the ratios.

    Args:
        target: Where to measure.
        models: The reference and those compared with it.
        options: The runtime.
        settings: How long to measure.
        known: The reference's calibrated latency, to be relied on; None: as timed now.

    Returns:
        One result per model; the first is `known` if that was given.

    Raises:
        ConfigError: No model given, one of another runtime or size, or a missing runtime.
        StudyMismatch: `known` is from another machine, runtime or setting.
        TrialFailed: "export" when an output is not torch's, or as `LatencyTarget.run`.
        TargetUnreachable: The device is gone.
    """
    if not models:
        raise ConfigError("measure: got no model, expected at least one")
    settings = settings or TimingSettings()
    scaled = replace(settings.for_dense(), cap_s=settings.cap_s * max(1.0, len(models) / 2))
    if known is not None:
        scaled = replace(scaled, run_s=known.median_ms / 1e3)
    output = _measured(target, models, models, options, scaled)
    if known is not None:
        refuse_other_fingerprint(known.fingerprint, _fingerprint(output))
    reference = known or _dense_result(output, settings)
    others = range(1, len(models))
    return reference, *(_relative_result(output, each, reference, settings) for each in others)


def refuse_other_fingerprint(known: Fingerprint, measured: Fingerprint) -> None:
    """Refuse to combine times that depend on different things.

    Raises:
        StudyMismatch: Names each field that differs.
    """
    before, now = known.model_dump(), measured.model_dump()
    changes = [f"{key}: {before[key]} -> {now[key]}" for key in before if before[key] != now[key]]
    if changes:
        raise StudyMismatch(f"latency was measured under other conditions: {'; '.join(changes)}")


@dataclass(frozen=True)
class Greeting:
    """What a target is.

    Attributes:
        fingerprint: What a latency measured there depends on.
        free_bytes: Of the disk that models are sent to; None where it does not tell.
        cores: That the runtime may use; None likewise.
        int8: Its CPU's instructions that add up products of 8 bits; "" where none are known.
    """

    fingerprint: Fingerprint
    free_bytes: int | None
    cores: int | None
    int8: str = ""


def check_loads(target: LatencyTarget, model: ExportedModel, options: RuntimeOptions) -> Greeting:
    """Load a model on the target, with the runtime and the provider asked for, and no more.

    Returns:
        What the target is.

    Raises:
        ConfigError: The target lacks the runtime or the provider; it names those it has.
        TrialFailed, TargetUnreachable: As `LatencyTarget.run`.
    """
    output = _measured(target, [model], [], options, None)
    return Greeting(_fingerprint(output), output.free_bytes, output.cores, output.int8)


def check_answers(
    target: LatencyTarget,
    model: ExportedModel,
    options: RuntimeOptions,
    references: Sequence[tuple[Path, ...]] = (),
) -> float:
    """Run a model once on the target and compare its output with torch's; nothing is timed.

    With `references`, as `write_references` gives them, for those images. Returns the largest
    difference, as a share of what `runner.check_output` says.

    Raises:
        ConfigError, TrialFailed, TargetUnreachable: As `measure_dense`.
    """
    checked = [replace(model, reference=each) for each in references] or [model]
    output = _measured(target, [model], checked, options, None)
    return max((check.max_rel_diff or 0.0 for check in output.checks), default=0.0)


def _measured(
    target: LatencyTarget,
    models: Sequence[ExportedModel],
    checked: Sequence[ExportedModel],
    options: RuntimeOptions,
    settings: TimingSettings | None,
) -> RunnerOutput:
    """Run one job, its outputs checked; the first model is the reference."""
    for model in models:
        if (model.runtime, model.imgsz) != (options.runtime, options.imgsz):
            got = f"{model.runtime} at {model.imgsz}"
            expected = f"a model for {options.runtime} at {options.imgsz}"
            raise ConfigError.of(str(model.path), "", got, expected)
    checks = [(model, check) for model in checked for check in model.checks()]
    job = options.as_job() | {
        "dense": str(models[0].path),
        "candidates": [str(model.path) for model in models[1:]],
        "timing": settings.as_job() if settings else None,
        "checks": [check for _, check in checks],
    }
    files = [model.path for model in models]
    files += [path for model in checked for path in model.reference or ()]
    files += options.files
    limit_s = settings.limit_s(len(models)) if settings else TimingSettings().load_s
    limit_s += options.row.compile_s * len(models)
    content = target.run(job, list(dict.fromkeys(files)), limit_s)
    output = checked_output(content, len(models) if settings else 0, len(checks))
    for (model, _), check in zip(checks, output.checks, strict=True):
        if check.problem is not None:
            raise TrialFailed("export", f"{model.path.name}: {check.problem}")
        differs = check.max_rel_diff if options.row.quantize is None else check.spread_diff
        if differs is None or not differs <= options.tolerance:
            detail = f"{model.path.name} differs from torch by {differs}"
            raise TrialFailed("export", f"{detail}, expected at most {options.tolerance}")
    return output


def _steady(
    target: LatencyTarget,
    models: Sequence[ExportedModel],
    checked: Sequence[ExportedModel],
    options: RuntimeOptions,
    settings: TimingSettings,
) -> RunnerOutput:
    """As `_measured`; once more if the machine's speed changed for good meanwhile."""
    output = _measured(target, models, checked, options, settings)
    if lasting_change(_counted(output.models[0])) > LASTING_CHANGE_ALLOWED:
        output = _measured(target, models, (), options, settings)
    return output


def _counted(times: ModelTimes) -> Any:
    return counted_ms(times.wall_ms, times.cpu_ms)


def _dense_result(output: RunnerOutput, settings: TimingSettings) -> LatencyResult:
    own = typical_ms(_counted(output.models[0]))
    return _result(output, 0, EXACTLY_ONE, own, own.value, settings)


def _relative_result(
    output: RunnerOutput, index: int, dense: LatencyResult, settings: TimingSettings
) -> LatencyResult:
    ratio = ratio_to(_counted(output.models[0]), _counted(output.models[index]))
    calibrated = Interval(dense.median_ms, dense.low_ms, dense.high_ms)
    return _result(output, index, ratio, ratio.times(calibrated), dense.median_ms, settings)


def _result(
    output: RunnerOutput,
    index: int,
    ratio: Interval,
    time_ms: Interval,
    dense_ms: float,
    settings: TimingSettings,
) -> LatencyResult:
    samples = _counted(output.models[index])
    dense_samples = _counted(output.models[0])
    change = lasting_change(dense_samples)
    certain = len(samples) >= _FEWEST_BLOCKS and time_ms.half_width <= settings.steady_half_width
    return LatencyResult(
        median_ms=time_ms.value,
        p90_ms=time_ms.value * tail_factor(samples),
        low_ms=time_ms.low,
        high_ms=time_ms.high,
        ratio=ratio.value,
        ratio_low=ratio.low,
        ratio_high=ratio.high,
        dense_ms=dense_ms,
        dense_now_ms=typical_ms(dense_samples).value,
        blocks=len(samples),
        steady=certain and change <= LASTING_CHANGE_ALLOWED,
        lasting_change=change,
        samples_ms=tuple(samples.ravel().tolist()),
        dense_samples_ms=tuple(dense_samples.ravel().tolist()),
        load_1min=output.before.load_1min,
        fingerprint=_fingerprint(output),
    )


def _fingerprint(output: RunnerOutput) -> Fingerprint:
    return Fingerprint(
        runtime=output.runtime,
        runtime_version=output.runtime_version,
        provider=output.provider + (" channels_last" if output.layout == "channels_last" else ""),
        precision=output.precision,
        threads=output.threads,
        cpu=output.cpu,
        isa=output.isa,
        system=output.system,
        imgsz=output.imgsz,
        batch=output.batch,
        runner_version=output.runner_version,
    )
