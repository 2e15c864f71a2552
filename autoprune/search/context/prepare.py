"""From a StudyConfig to a Workbench: everything is loaded and checked before any work starts."""

from __future__ import annotations

import random
import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from autoprune.demo.bundle import demo_checkpoint
from autoprune.demo.dataset import demo_data_yaml
from autoprune.domain.config import StudyConfig
from autoprune.domain.plan import Calibration
from autoprune.domain.space import SearchSpace
from autoprune.errors import ConfigError, StorageFailed
from autoprune.evaluation.checkpoint import load_yolo, model_hash, trained_image_size
from autoprune.evaluation.dataset import DataSummary, inspect_data
from autoprune.evaluation.device import choose_device
from autoprune.evaluation.fine_tune_settings import settings_from
from autoprune.families import family_of, space_file
from autoprune.latency.export import export_model
from autoprune.latency.measure import RuntimeOptions, TimingSettings, check_loads
from autoprune.latency.runtimes import RUNTIMES
from autoprune.latency.targets import LatencyTarget, target_from
from autoprune.pruning.importance import criterion_named
from autoprune.pruning.prune import Pruner
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.workbench import Workbench
from autoprune.search.learn.calibration import calibrate, calibration_images
from autoprune.storage.study_folder import StudyFolder

RECALIBRATION_IMAGES = 256
DEMO_TIMEOUT_S = 460.0
MIN_FREE_BYTES = 500_000_000


def complete(config: StudyConfig) -> tuple[StudyConfig, bool]:
    """Fill in what the user left open: the demo, a limit, a name.

    A space left open stays so: it is the target's own, see `with_target_space`.

    Returns:
        The complete configuration, and whether the demo is used.
    """
    demo = config.model is None
    changes: dict[str, Any] = {}
    if demo:
        changes |= {"model": demo_checkpoint()}
    if demo and config.trials is None and config.timeout_s is None:
        changes["timeout_s"] = DEMO_TIMEOUT_S
    if config.name is None:
        changes["name"] = _default_name(config)
    return config.model_copy(update=changes), demo


def prepare(
    config: StudyConfig,
    studies: Path,
    listener: SearchListener,
    target: LatencyTarget | None = None,
) -> tuple[Workbench, bool]:
    """Load and check model, data, space and target.

    Args:
        config: What the user asked.
        studies: Folder that holds one folder per study.
        listener: Told where the study lives as soon as the input is checked, and of calibration.
        target: Where latency is measured, instead of what `config.target` names.

    Returns:
        The bench, and whether the demo is used.

    Raises:
        ConfigError: Any input that is wrong; nothing was started.
        UnsupportedModel: A layer that cannot be pruned.
    """
    fine_tune = settings_from(config.fine_tune)
    criterion = criterion_named(config.importance)
    target = target or target_from(config.target, config.target_python)
    device = choose_device(fine_tune.device)
    config, demo = complete(config)
    assert config.model is not None
    assert config.name is not None
    yolo = load_yolo(config.model, trust=config.trust_checkpoint)
    trained_size = trained_image_size(yolo)
    imgsz = config.imgsz or trained_size
    check_stride(yolo, imgsz)
    family = family_of(yolo.model)
    widths = family.widths(yolo.model)
    space = SearchSpace.load(config.space or space_file(family), widths, config.protect)
    folder = StudyFolder(studies / config.name)
    _check_space_on_disk(folder.root)
    options = runtime_options(config, imgsz)
    _check_provider(target, options)
    data = inspect_data(config.data or demo_data_yaml())
    _check_classes(yolo, data)
    listener.prepared(folder, demo)
    _say_other_names(yolo, data, listener)
    statistics, calibration = None, None
    if config.compensate or criterion.needs_images:
        images = calibration_images(max(trained_size))
        calibration = Calibration(str(data.path), images, config.seed)
        listener.candidate(f"dense model, {images} training images", None, None)
        listener.stage("calibrate")
        statistics = calibrate(
            yolo.model,
            data,
            max(trained_size),
            calibration.images,
            calibration.seed,
            device,
            taylor=criterion.needs == "gradients",
        )
    pruner = Pruner(yolo.model, config.importance, statistics, config.compensate)
    folder.root.mkdir(parents=True, exist_ok=True)
    bench = Workbench(
        config=config,
        folder=folder,
        yolo=yolo,
        base_hash=model_hash(yolo.model),
        pruner=pruner,
        space=space,
        data=data,
        imgsz=imgsz,
        recalibration_images=_sample(data.train, RECALIBRATION_IMAGES, config.seed),
        fine_tune=fine_tune,
        device=device,
        target=target,
        options=options,
        timing=TimingSettings(),
        calibration=calibration,
    )
    return bench, demo


def _default_name(config: StudyConfig) -> str:
    """Model, goal, runtime and device: `demo-5ms-onnxruntime-1t-on-pi-raspberrypi.local`.

    A provider or layout other than the default follows the runtime: `torch-cuda-channels-last`.
    """
    stem = "demo" if config.model is None else config.model.stem
    unit = {"budget_ms": "ms", "speedup": "x", "max_drop": "pt"}[config.goal.kind]
    size = "" if config.imgsz is None else f"-{config.imgsz[0]}x{config.imgsz[1]}"
    goal = f"{config.goal.value:g}{unit}"
    runtime = config.runtime
    if config.provider not in (None, RUNTIMES.row(runtime, "--runtime").provider):
        runtime += f"-{_plain(config.provider)}"
    if config.channels_last:
        runtime += "-channels-last"
    place = _plain(config.target.removeprefix("ssh://"))
    target = "" if config.target == "local" else f"-on-{place}"
    return f"{stem}{size}-{goal}-{runtime}-{config.threads}t{target}"


def _plain(text: str) -> str:
    """At most 40 characters, fit for a folder's name."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text)[:40]


def runtime_options(config: StudyConfig, imgsz: tuple[int, int]) -> RuntimeOptions:
    """What runs the model at an image size (height, width), as asked."""
    return RuntimeOptions(
        runtime=config.runtime,
        imgsz=imgsz,
        threads=config.threads,
        provider=config.provider,
        channels_last=config.channels_last,
    )


def check_stride(yolo: Any, imgsz: tuple[int, int]) -> None:
    """Refuse an image size that the model's maps do not divide.

    Raises:
        ConfigError: A side is not a multiple of the model's largest stride.
    """
    stride = int(max(yolo.model.stride))
    if any(side % stride for side in imgsz):
        expected = f"multiples of {stride}, this model's largest stride"
        raise ConfigError.of("--imgsz", "", list(imgsz), expected)


def _check_provider(target: LatencyTarget, options: RuntimeOptions) -> None:
    """Try the provider asked for on the target, with a network of one layer, before any work.

    Raises:
        ConfigError: The target lacks it, or falls back to another.
        TrialFailed, TargetUnreachable: As `LatencyTarget.run`.
    """
    if options.provider is None:
        return
    small = replace(options, imgsz=(32, 32))
    with tempfile.TemporaryDirectory(prefix="autoprune-provider-") as folder:
        path = Path(folder) / f"model{options.row.suffix}"
        check_loads(
            target, export_model(nn.Conv2d(3, 1, 1), path, small.imgsz, small.runtime), small
        )


def _check_classes(yolo: Any, data: DataSummary) -> None:
    have = len(yolo.model.names)
    if have != len(data.names):
        got, expected = f"{len(data.names)} classes", f"the model's {have}: train it on this data"
        raise ConfigError.of(str(data.path), "names", got, expected)


def _say_other_names(yolo: Any, data: DataSummary, listener: SearchListener) -> None:
    known = [str(yolo.model.names[index]) for index in range(len(data.names))]
    other = [
        f"{index}: {a} / {b}"
        for index, (a, b) in enumerate(zip(known, data.names, strict=True))
        if a != b
    ]
    if other:
        shown = ", ".join(other[:5]) + (", ..." if len(other) > 5 else "")
        listener.say(f"Note: class names of model / data differ ({shown}); they count as the same.")


def _check_space_on_disk(folder: Path) -> None:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < MIN_FREE_BYTES:
        needed = f"{MIN_FREE_BYTES / 1e6:.0f} MB"
        raise StorageFailed(f"{folder}: only {free / 1e6:.0f} MB of disk are free, {needed} needed")


def _sample(images: tuple[Path, ...], count: int, seed: int) -> tuple[Path, ...]:
    if len(images) <= count:
        return images
    return tuple(random.Random(seed).sample(images, count))  # noqa: S311 (not cryptography)
