"""The public functions; each imports what it needs when it is called."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoprune.domain.config import DEFAULT_TARGET_PYTHON, StudyConfig
from autoprune.domain.outcome import Outcome
from autoprune.domain.plan import Calibration, PruningPlan
from autoprune.domain.record import LatencyResult
from autoprune.errors import ConfigError
from autoprune.storage.study_folder import StudyFolder

if TYPE_CHECKING:
    from ultralytics import YOLO

    from autoprune.evaluation.pruned_yolo import PrunedYOLO
    from autoprune.latency.exported_model import ExportedModel
    from autoprune.latency.options import RuntimeOptions
    from autoprune.latency.self_test import Trustworthiness
    from autoprune.latency.targets import LatencyTarget
    from autoprune.pruning.statistics import CalibrationStatistics
    from autoprune.search.context.listener import SearchListener
    from autoprune.search.feasibility.probe import ProbeResult


@dataclass(frozen=True)
class SearchResult:
    """A finished search.

    Attributes:
        folder: The study's files: `folder.best_plan`, `folder.trial_records()` ...
        outcome: How it ended.
        report: Path of report.html.
    """

    folder: StudyFolder
    outcome: Outcome
    report: Path


def search(
    config: StudyConfig,
    *,
    studies: Path | str = "studies",
    listener: SearchListener | None = None,
    target: LatencyTarget | None = None,
) -> SearchResult:
    """Search for plans that meet `config.goal` at the least loss of mAP.

    Calling it again with the same configuration continues an interrupted study.

    Args:
        config: What is asked; `StudyConfig(goal=Goal(kind="budget_ms", value=5))` runs the demo.
        studies: Folder in which the study gets a folder of its own.
        listener: Hears progress; silent by default.
        target: Where latency is measured, instead of what `config.target` names.

    Returns:
        The study's folder, its outcome and the report.

    Raises:
        ConfigError: Wrong input, before any work.
        UnsupportedModel: The model cannot be pruned.
        StudyMismatch: The study exists with other settings or widths.
        TargetUnreachable: The device does not answer; repeat the call to continue.
        KeyboardInterrupt: After the report of what is finished has been written.
    """
    from autoprune.search.propose.names import check_names

    check_names(config)
    from autoprune.evaluation.quiet import prepare_environment

    prepare_environment()
    from autoprune.search.context.listener import SearchListener
    from autoprune.search.run import note_stop, prepare_search, run_search

    listener = listener or SearchListener()
    prepared = prepare_search(config, Path(studies), listener, target)
    try:
        outcome = run_search(prepared, listener)
    except BaseException as error:
        note_stop(prepared, error)
        if prepared.folder.dense_record() is not None:
            write_report(prepared.folder.root)
        raise
    return SearchResult(prepared.folder, outcome, write_report(prepared.folder.root))


def probe(
    model: str | Path | None = None,
    *,
    budget_ms: float | None = None,
    speedup: float | None = None,
    imgsz: int | tuple[int, ...] | None = None,
    runtime: str = "onnxruntime",
    threads: int = 1,
    provider: str | None = None,
    channels_last: bool = False,
    target: LatencyTarget | str = "local",
    target_python: str = DEFAULT_TARGET_PYTHON,
    protect: tuple[int, ...] = (),
    space: str | Path | None = None,
    write_space: str | Path | None = None,
    trust_checkpoint: bool = False,
    listener: SearchListener | None = None,
) -> ProbeResult:
    """Find out in two minutes, without data or training, whether pruning can meet a limit.

    Args:
        model: A .pt or model .yaml; the bundled demo by default.
        budget_ms: Latency limit in ms; give this, `speedup` or neither.
        speedup: Or: this many times faster than the dense model.
        imgsz: Side, or (height, width), in pixels; by default what the model was trained at.
        runtime: A name in the table of runtimes: "onnxruntime", "torch", or one of a package.
        threads: Threads of one forward pass.
        provider: What the runtime runs on, as it calls it; None for the CPU.
        channels_last: Memory layout, where the runtime lets it be chosen.
        target: Where: "local", "ssh://user@host[:port]", a form that a package adds, or an object
            that measures.
        target_python: The interpreter on an ssh target.
        protect: Layer indices that keep all their channels.
        space: Search space YAML; by default widths on this target's steps, within the shipped one.
        write_space: New file for a search space of only those widths that are on this target's
            steps.
        trust_checkpoint: Load a .pt that holds more than torch and Ultralytics classes.
        listener: Hears progress; silent by default.

    Returns:
        Dense latency, floor, stairs, alternatives and the verdict.

    Raises:
        ConfigError: Wrong input, before anything is measured.
        UnsupportedModel: The model cannot be pruned.
        TrialFailed: The model cannot be exported or measured.
        TargetUnreachable: The device does not answer.
    """
    if budget_ms is not None and speedup is not None:
        expected = "one of --budget-ms and --speedup, or neither"
        raise ConfigError(f"arguments: goal: got budget_ms and speedup, expected {expected}")
    limit = {"budget_ms": budget_ms, "speedup": speedup}
    given = [{"kind": kind, "value": value} for kind, value in limit.items() if value is not None]
    settings = {
        "goal": given[0] if given else {"kind": "max_drop", "value": 100},  # no latency limit
        "imgsz": imgsz,
        "space": space,
        "runtime": runtime,
        "threads": threads,
        "provider": provider,
        "channels_last": channels_last,
        "protect": protect,
        **({"target": target, "target_python": target_python} if isinstance(target, str) else {}),
        "trust_checkpoint": trust_checkpoint,
    }
    config = StudyConfig.of(settings, "arguments")
    if model is not None:  # without data, which a search would ask for
        config = config.model_copy(update={"model": Path(model)})
    from autoprune.search.propose.names import check_names

    check_names(config)
    from autoprune.evaluation.quiet import prepare_environment

    prepare_environment()
    from autoprune.search.context.listener import SearchListener
    from autoprune.search.feasibility.probe import probe as run_probe

    return run_probe(
        config,
        config.goal if given else None,
        listener or SearchListener(),
        None if isinstance(target, str) else target,
        None if write_space is None else Path(write_space),
    )


def prune_detection_model(
    model: YOLO | str | Path,
    prune_ratio: float | None = None,
    prune_yaml: str | Path | None = None,
    *,
    importance: str | None = None,
    compensate: bool | None = None,
    round_to: int | None = None,
    calibration: str | Path | None = None,
    seed: int = 0,
    trust_checkpoint: bool = False,
) -> PrunedYOLO:
    """Prune a YOLOv8 detection model; the model given is never changed.

    Args:
        model: A YOLO, or the path of a .pt or model .yaml.
        prune_ratio: The same fraction of channels, in [0, 1), removed at every index.
        prune_yaml: A per-index YAML instead.
        importance: Criterion that ranks channels; else the YAML's; else `obs` where calibration
            images are known and `l2_bn` where not.
        compensate: Let what stays take over, by least squares on calibration images, what was
            removed; else as the YAML says; else wherever calibration images are known.
        round_to: With prune_ratio: kept widths are rounded up to a multiple of this.
        calibration: Data YAML whose training images are looked at; the plan's own comes first.
        seed: Which training images those are.
        trust_checkpoint: Load a .pt that holds more than torch and Ultralytics classes.

    Returns:
        A pruned copy, used like any YOLO; its `.train()` keeps the pruned shape, and
        `.how_pruned` says in words which criterion was used.

    Raises:
        ConfigError: Not exactly one of prune_ratio and prune_yaml, or a wrong value.
        PlanError: The plan does not fit the model.
        UnsupportedModel: The model holds a layer that cannot be pruned.
    """
    from autoprune.evaluation.checkpoint import load_yolo, model_hash
    from autoprune.evaluation.pruned_yolo import as_pruned_yolo
    from autoprune.evaluation.regrowth_guard import seal
    from autoprune.families import family_of
    from autoprune.pruning.importance import (
        CALIBRATED_IMPORTANCE,
        DEFAULT_IMPORTANCE,
        criterion_named,
    )
    from autoprune.pruning.prune import Pruner, uniform_plan

    if (prune_ratio is None) == (prune_yaml is None):
        raise ConfigError("prune_detection_model: give exactly one of prune_ratio and prune_yaml")
    yolo = load_yolo(model, trust=trust_checkpoint) if isinstance(model, (str, Path)) else model
    dense = yolo.model
    if prune_yaml is not None:
        plan, where = PruningPlan.load(prune_yaml), str(prune_yaml)
        if round_to is not None:
            raise ConfigError.of("round_to", "", round_to, "no value: the YAML says it")
    else:
        assert prune_ratio is not None
        where = f"prune_ratio {prune_ratio}"
        checked = PruningPlan.from_mapping(
            {"prune_ratios": {0: prune_ratio}, "round_to": 1 if round_to is None else round_to},
            "prune_detection_model",
        ).prune_ratios[0]
        assert isinstance(checked, float)
        plan = uniform_plan(family_of(dense).widths(dense), checked, round_to or 1)
    base = model_hash(dense)
    if plan.base not in (None, base):
        message = f"{where}: base: written for the model {plan.base}, applied to {base}"
        warnings.warn(message, stacklevel=2)
    images = _calibration_images(yolo, calibration, plan, seed)
    default = DEFAULT_IMPORTANCE if images is None else CALIBRATED_IMPORTANCE
    chosen = importance or plan.importance or default
    criterion = criterion_named(chosen)
    compensated = next(
        wish for wish in (compensate, plan.compensate, images is not None) if wish is not None
    )
    statistics = None
    if compensated or criterion.needs_images:
        if images is None:
            wanted = f"importance {chosen}" if criterion.needs_images else "compensate"
            raise ConfigError(f"{wanted} needs images: give calibration, the path of a data YAML")
        statistics = _statistics(yolo, images, criterion.needs == "gradients")
    pruner = Pruner(dense, chosen, statistics, compensated)
    pruned = pruner.prune(plan, where)
    if not plan.removes_nothing():
        used = replace(
            plan,
            importance=chosen,
            compensate=compensated,
            calibration=images if statistics else None,
            base=base,
        )
        seal(pruned, {"base": base, "plan": used.to_mapping()})
    result = as_pruned_yolo(pruned, yolo)
    result.how_pruned = _how_pruned(chosen, compensated, images if statistics else None)
    return result


def load(path: str | Path, *, trust_checkpoint: bool = False) -> PrunedYOLO:
    """Open a pruned .pt so that `.train()` keeps its shape.

    Raises:
        ConfigError: Missing, broken or refused file.
        UnsupportedModel: Not a detection model.
    """
    from autoprune.evaluation.pruned_yolo import load_pruned

    return load_pruned(path, trust=trust_checkpoint)


def measure(
    models: Sequence[str | Path],
    *,
    runtime: str = "onnxruntime",
    threads: int = 1,
    provider: str | None = None,
    channels_last: bool = False,
    imgsz: int | tuple[int, int] | None = None,
    target: LatencyTarget | str = "local",
    target_python: str = DEFAULT_TARGET_PYTHON,
) -> dict[str, LatencyResult]:
    """Time models against the first one, interleaved, in one clean process.

    Args:
        models: .pt or .onnx files (a model .yaml works too: latency depends on shapes alone).
        runtime: A name in the table of runtimes: "onnxruntime", "torch", or one of a package.
        threads: Threads of one forward pass.
        provider: What the runtime runs on, as it calls it; None for the CPU.
        channels_last: Memory layout, where the runtime lets it be chosen.
        imgsz: Side, or (height, width), in pixels; by default what the first model was trained at.
        target: Where: "local", "ssh://user@host[:port]", a form that a package adds, or an object
            that measures.
        target_python: The interpreter on an ssh target.

    Returns:
        File -> latency of one forward pass at batch 1, in the order given.

    Raises:
        ConfigError: A file or setting is wrong, or the target lacks the runtime or provider.
        TrialFailed: A model cannot be exported or measured.
        TargetUnreachable: The device does not answer.
    """
    from autoprune.latency.options import RuntimeOptions

    options = RuntimeOptions(  # refuses wrong settings before anything heavy is loaded
        runtime=runtime,
        threads=threads,
        imgsz=(640, 640),
        provider=provider,
        channels_last=channels_last,
    )
    import tempfile

    where = _target(target, target_python)
    with tempfile.TemporaryDirectory() as folder:
        exported, options = _exported(models, options, imgsz, Path(folder))
        from autoprune.latency.measure import compare

        results = compare(where, exported, options)
    return dict(zip(map(str, models), results, strict=True))


def measure_self_test(
    model: str | Path,
    *,
    runtime: str = "onnxruntime",
    threads: int = 1,
    provider: str | None = None,
    channels_last: bool = False,
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
    from autoprune.latency.options import RuntimeOptions

    options = RuntimeOptions(
        runtime=runtime,
        threads=threads,
        imgsz=(640, 640),
        provider=provider,
        channels_last=channels_last,
    )
    import tempfile

    where = _target(target, target_python)
    with tempfile.TemporaryDirectory() as folder:
        exported, options = _exported([model], options, imgsz, Path(folder))
        from autoprune.latency.self_test import self_test

        return self_test(where, exported[0], options, heard=heard)


def _target(target: LatencyTarget | str, python: str) -> LatencyTarget:
    from autoprune.latency.targets import target_from

    return target_from(target, python) if isinstance(target, str) else target


def _exported(
    models: Sequence[str | Path],
    options: RuntimeOptions,
    imgsz: int | tuple[int, int] | None,
    folder: Path,
) -> tuple[list[ExportedModel], RuntimeOptions]:
    """The models as files of the runtime, and the options with the image size now known."""
    from autoprune.evaluation.quiet import prepare_environment

    prepare_environment()
    from autoprune.evaluation.checkpoint import load_yolo, trained_image_size
    from autoprune.latency.export import ExportedModel, export_model

    if not models:
        raise ConfigError.of("measure", "models", "none", "at least one .pt or .onnx file")
    size = (imgsz, imgsz) if isinstance(imgsz, int) else imgsz
    exported: list[ExportedModel] = []
    for number, file in enumerate(map(Path, models)):
        if file.suffix.lower() not in (".pt", ".yaml", ".yml"):
            exported.append(ExportedModel.of_file(file, size, options.runtime))
            size = size or exported[-1].imgsz
            continue
        yolo = load_yolo(file)
        size = size or trained_image_size(yolo)
        path = folder / f"{number}{options.row.suffix}"
        exported.append(export_model(yolo.model, path, size, options.runtime))
    return exported, replace(options, imgsz=size or options.imgsz)


def fine_tune_pruned(
    model: PrunedYOLO,
    data: str | Path,
    settings: Mapping[str, Any],
    folder: Path,
    say: Callable[[str], None] = lambda _: None,
) -> PrunedYOLO:
    """Fine-tune a pruned model at full length, keeping its shape, and return the trained one.

    Args:
        model: What `prune_detection_model` or `load` returned.
        data: Data YAML.
        settings: Ultralytics' training settings, e.g. {"epochs": 50, "lr0": 0.001}.
        folder: Receives Ultralytics' run. A run of the same model, data and settings that was
            interrupted there goes on after its last finished epoch.
        say: Told whether it goes on, and after each epoch how far it is and mAP50-95 on val.

    Raises:
        ConfigError: An unknown setting, or one that would train another network; `folder` holds
            another fine-tune.
    """
    from autoprune.evaluation.full_fine_tune import fully_fine_tuned

    return fully_fine_tuned(model, data, settings, folder, say)


def write_report(folder: Path | str) -> Path:
    """Write the report of a study, finished or not; returns the path of report.html.

    Raises:
        ConfigError: The folder holds no study.
    """
    from autoprune import report

    return report.write_report(StudyFolder(Path(folder)))


def _calibration_images(
    yolo: YOLO, data: str | Path | None, plan: PruningPlan, seed: int
) -> Calibration | None:
    from autoprune.evaluation.checkpoint import trained_image_size
    from autoprune.search.learn.calibration import calibration_images

    noted = plan.calibration  # comes first: the same file gives the same channels
    if noted is not None and (data is None or Path(noted.data).exists()):
        return noted
    if data is None:
        return None
    if noted is not None:
        return Calibration(str(data), noted.images, noted.seed)
    return Calibration(str(data), calibration_images(max(trained_image_size(yolo))), seed)


def _statistics(yolo: YOLO, images: Calibration, taylor: bool) -> CalibrationStatistics:
    from autoprune.evaluation.checkpoint import trained_image_size
    from autoprune.evaluation.dataset import inspect_data
    from autoprune.evaluation.device import choose_device
    from autoprune.search.learn.calibration import calibrate

    return calibrate(
        yolo.model,
        inspect_data(images.data),
        max(trained_image_size(yolo)),
        images.images,
        images.seed,
        choose_device(None),
        taylor=taylor,
    )


def _how_pruned(importance: str, compensated: bool, images: Calibration | None) -> str:
    looked_at = (
        "" if images is None else f" (up to {images.images} training images of {images.data})"
    )
    and_then = ", compensated" if compensated else ", not compensated"
    return f"channels ranked by {importance}{and_then}{looked_at}"
