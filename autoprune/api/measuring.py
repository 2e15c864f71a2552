"""measure and measure_self_test: how long models take on a target, and how far to trust that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from autoprune.domain.config import DEFAULT_TARGET_PYTHON
from autoprune.domain.record import LatencyResult
from autoprune.errors import ConfigError
from autoprune.evaluation.traces import no_traces
from autoprune.storage.scratch import scratch_folder

if TYPE_CHECKING:
    from autoprune.latency.exported_model import ExportedModel
    from autoprune.latency.options import RuntimeOptions
    from autoprune.latency.self_test import Trustworthiness
    from autoprune.latency.targets import LatencyTarget


@no_traces()
def measure(
    models: Sequence[str | Path],
    *,
    runtime: str = "onnxruntime",
    threads: int = 1,
    provider: str | None = None,
    channels_last: bool = False,
    precision: str | None = None,
    imgsz: int | tuple[int, int] | None = None,
    target: LatencyTarget | str = "local",
    target_python: str = DEFAULT_TARGET_PYTHON,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, LatencyResult]:
    """Time models against the first one, interleaved, in one clean process.

    Args:
        models: .pt or .onnx files (a model .yaml works too: latency depends on shapes alone).
        runtime: A name in the table of runtimes: "onnxruntime", "torch", or one of a package.
        threads: Threads of one forward pass.
        provider: What the runtime runs on, as it calls it; None for the CPU.
        channels_last: Memory layout, where the runtime lets it be chosen.
        precision: What the runtime computes in, one of its row's; None for the first of them.
        imgsz: Side, or (height, width), in pixels; by default what the first model was trained at.
        target: Where: "local", "ssh://user@host[:port]", a form that a package adds, or an object
            that measures.
        target_python: The interpreter on an ssh target.
        say: Told what has to be known about a model's numbers, a sentence each.

    Returns:
        File -> latency of one forward pass at batch 1, in the order given.

    Raises:
        ConfigError: A file or setting is wrong, or the target lacks the runtime or provider.
        TrialFailed: A model cannot be exported or measured.
        TargetUnreachable: The device does not answer.
    """
    options = _options(runtime, threads, provider, channels_last, precision)
    where = _target(target, target_python)
    with scratch_folder("measure") as folder:
        exported, options = _exported(models, options, imgsz, Path(folder), say)
        from autoprune.latency.denormals import denormals_note
        from autoprune.latency.measure import compare

        results = compare(where, exported, options)
        for file, made in zip(models, exported, strict=True):
            if note := denormals_note(made.denormals, options):
                say(f"Note: {Path(file).name}: {note}.")
    return dict(zip(map(str, models), results, strict=True))


@no_traces()
def measure_self_test(
    model: str | Path,
    *,
    runtime: str = "onnxruntime",
    threads: int = 1,
    provider: str | None = None,
    channels_last: bool = False,
    precision: str | None = None,
    imgsz: int | tuple[int, int] | None = None,
    target: LatencyTarget | str = "local",
    target_python: str = DEFAULT_TARGET_PYTHON,
    heard: Callable[[int, int], None] = lambda done, wanted: None,
) -> tuple[Trustworthiness, ...]:
    """Time a model against itself and against itself made slower by 2, 5 and 10 %, repeatedly.

    Args:
        model: A .pt or .onnx file, or a model .yaml.
        runtime: The others: as for `measure`.
        heard: Told after each measurement how many are done, and of how many.

    Returns:
        One entry per difference; `autoprune.latency.self_test.smallest_difference` sums them up.

    Raises:
        ConfigError, TrialFailed, TargetUnreachable: As `measure`.
    """
    options = _options(runtime, threads, provider, channels_last, precision)
    where = _target(target, target_python)
    with scratch_folder("measure") as folder:
        exported, options = _exported([model], options, imgsz, Path(folder))
        from autoprune.latency.self_test import self_test

        return self_test(where, exported[0], options, heard=heard)


def _options(
    runtime: str, threads: int, provider: str | None, channels_last: bool, precision: str | None
) -> RuntimeOptions:
    """What was asked for, checked before anything heavy is loaded; the image size comes later."""
    from autoprune.latency.options import RuntimeOptions

    return RuntimeOptions(
        runtime=runtime,
        threads=threads,
        imgsz=(640, 640),
        provider=provider,
        channels_last=channels_last,
        precision=precision,
    )


def _target(target: LatencyTarget | str, python: str) -> LatencyTarget:
    from autoprune.latency.targets import target_from

    return target_from(target, python) if isinstance(target, str) else target


def _exported(
    models: Sequence[str | Path],
    options: RuntimeOptions,
    imgsz: int | tuple[int, int] | None,
    folder: Path,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[list[ExportedModel], RuntimeOptions]:
    """The models as files of the runtime, and the options with the image size now known."""
    from autoprune.evaluation.branches import deployed_branch
    from autoprune.evaluation.checkpoint import load_yolo, trained_image_size
    from autoprune.latency.export import ExportedModel, export_model
    from autoprune.latency.runtimes import TIMING_ONLY

    if not models:
        raise ConfigError.of("measure", "models", "none", "at least one .pt or .onnx file")
    size = (imgsz, imgsz) if isinstance(imgsz, int) else imgsz
    exported: list[ExportedModel] = []
    branches: dict[str, str] = {}
    for number, file in enumerate(map(Path, models)):
        if file.suffix.lower() not in (".pt", ".yaml", ".yml"):
            exported.append(ExportedModel.of_file(file, size, options.runtime))
            size = size or exported[-1].imgsz
            continue
        yolo = load_yolo(file)
        size = size or trained_image_size(yolo)
        if branch := deployed_branch(yolo.model):
            branches[file.name] = branch
        path = folder / f"{number}{options.row.suffix}"
        exported.append(export_model(yolo.model, path, size, options.runtime))
        if options.row.quantize is not None:
            say(f"Note: {file.name} is timed in {TIMING_ONLY}.")
    if len(set(branches.values())) > 1:
        for name, branch in branches.items():
            say(f"Note: {name} is timed with its branch {branch}.")
    return exported, replace(options, imgsz=size or options.imgsz)
