"""The first stage: everything is loaded and checked, and the target greeted, before any work."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autoprune.demo.bundle import demo_checkpoint
from autoprune.demo.dataset import demo_data_yaml
from autoprune.domain.config import StudyConfig
from autoprune.domain.plan import Calibration
from autoprune.domain.space import SearchSpace
from autoprune.errors import ConfigError, StorageFailed
from autoprune.evaluation.branches import deployed_branch
from autoprune.evaluation.checkpoint import load_yolo, model_hash, trained_image_size
from autoprune.evaluation.class_head import check_classes, class_names, in_order_of
from autoprune.evaluation.data_yaml import read_data_yaml
from autoprune.evaluation.dataset import DataSummary, inspect_data
from autoprune.evaluation.device import choose_device
from autoprune.evaluation.fewer_classes import classes_of, kept_classes, with_classes
from autoprune.evaluation.fine_tune_settings import check_freeze, settings_from
from autoprune.evaluation.images import check_channels
from autoprune.evaluation.model_task import check_keypoints, model_task
from autoprune.evaluation.pictures import sampled
from autoprune.families import family_of, space_file
from autoprune.latency.measure import RuntimeOptions, TimingSettings
from autoprune.latency.runner import describe_machine
from autoprune.latency.runtimes import RUNTIMES
from autoprune.latency.targets import LatencyTarget, target_from
from autoprune.pruning.importance import criterion_named
from autoprune.pruning.prune import widths_of
from autoprune.search.context.calibration_images import calibration_images
from autoprune.search.context.fetching import fetch_study
from autoprune.search.context.greet import greet, refuse_other_place
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.study_settings import compare_settings, save_settings, settings_of
from autoprune.search.context.workbench import Checked
from autoprune.storage.shared import SharedStudy
from autoprune.storage.study_folder import StudyFolder
from autoprune.storage.yaml_io import write_atomic

RECALIBRATION_IMAGES = 256
DEMO_TIMEOUT_S = 460.0
MIN_FREE_BYTES = 500_000_000


def completed(config: StudyConfig, model: Path, name: str) -> StudyConfig:
    """The configuration with what the user left open; the demo gets a time limit of its own.

    A space left open stays so: it is the target's own, see `with_target_space`.
    """
    changes: dict[str, Any] = {"model": model, "name": name}
    if config.model is None and config.trials is None and config.timeout_s is None:
        changes["timeout_s"] = DEMO_TIMEOUT_S
    return config.model_copy(update=changes)


def check(
    config: StudyConfig,
    studies: Path,
    listener: SearchListener,
    target: LatencyTarget | None = None,
    share: Callable[[str], SharedStudy] | None = None,
) -> Checked:
    """Load and check model, data, space, an existing study and the target; takes seconds.

    Args:
        config: What the user asked.
        studies: Folder that holds one folder per study.
        listener: Told where the study lives as soon as all is checked.
        target: Where latency is measured, instead of what `config.target` names.
        share: Name of the study -> what workers share of it; None where its folder is all.

    Returns:
        The first stage; study.yaml is written.

    Raises:
        ConfigError: Any input that is wrong, or the target lacks the runtime; nothing was started.
        UnsupportedModel: A layer that cannot be pruned.
        StudyMismatch: The folder holds a study with other settings, or of another target.
        TargetUnreachable: The device does not answer.
        TrialFailed: It cannot run a network of one layer.
        StorageFailed: Too little disk is free, here or there.
    """
    fine_tune = settings_from(config.fine_tune)
    needs_images = needs_calibration(config)
    target = target or target_from(config.target, config.target_python)
    device = choose_device(fine_tune.device)
    demo = config.model is None
    model, name = config.model or demo_checkpoint(), config.name or default_name(config)
    config = completed(config, model, name)
    yolo = load_yolo(model, trust=config.trust_checkpoint, nms=config.nms)
    trained_size = trained_image_size(yolo)
    check_freeze(fine_tune.more.get("freeze"), len(yolo.model.model))
    imgsz = config.imgsz or trained_size
    check_stride(yolo, imgsz)
    task = model_task(yolo.model)
    widths, family = widths_of(yolo.model), family_of(yolo.model)
    space = SearchSpace.load(config.space or space_file(family), widths, config.protect)
    folder = StudyFolder(studies / name, None if share is None else share(name))
    _check_disk(folder.root)
    fetch_study(folder)
    options = runtime_options(config, imgsz)
    data_yaml = config.data or demo_data_yaml()
    described = read_data_yaml(data_yaml)  # what is wrong with it, without reading every label
    greeting = greet(target, options, listener.say)
    base_hash = model_hash(yolo.model)  # of the file, which plans are for
    kept = None
    if config.classes is not None:
        kept = kept_classes(yolo.model, config.classes)
        yolo.model = with_classes(yolo.model, kept)
    known = classes_of(yolo.model)
    in_data = known.in_data(described.names, str(data_yaml)) if known else None
    data = inspect_data(data_yaml, config.tolerated, task.name, in_data)
    check_classes(yolo.model, len(data.names), str(data.path), ": train it on this data")
    check_channels(yolo.model, data.channels, str(data.path))
    check_keypoints(yolo.model, data.kpt_shape, str(data.path))
    notes = list(data.notes)
    if branch := deployed_branch(yolo.model):
        notes.append(f"validated, timed and exported is the branch {branch}")
    if kept is not None:
        notes.append(
            f"{len(kept.ids)} of the model's {len(kept.names)} classes are kept, dense too"
        )
    ordered = in_order_of(yolo.model, data.names, str(data.path))
    if ordered is not yolo.model:
        notes.append("the data has the model's classes in another order, which counts")
        yolo.model = ordered
    else:
        notes += _other_names(yolo, data)
    if folder.shared is not None and folder.shared.note is not None:
        notes.append(folder.shared.note)
    images = calibration_images(max(trained_size))
    checked = Checked(
        config=config,
        demo=demo,
        folder=folder,
        yolo=yolo,
        base_hash=base_hash,
        space=space,
        data=data,
        imgsz=imgsz,
        recalibration_images=sampled(data.train, RECALIBRATION_IMAGES, config.seed),
        fine_tune=fine_tune,
        device=device,
        target=target,
        options=options,
        timing=TimingSettings(),
        calibration=Calibration(str(data.path), images, config.seed) if needs_images else None,
        kept_classes=kept,
        full_range=bool(greeting.int8 and describe_machine()["int8"]),
    )
    settings = settings_of(checked)
    with folder.alone(".settings.lock"):  # two that begin at once
        folder.fetch()
        compare_settings(folder, settings)
        refuse_other_place(folder.dense_record(), greeting.fingerprint)
        save_settings(folder, settings)
        if folder.shared is not None and config.space is not None:
            write_atomic(folder.asked_space, config.space.read_bytes())
        folder.send()
    listener.prepared(folder, demo, task.metric)
    for why in folder.set_broken_aside():
        listener.say(f"Set aside: {why}")
    for note in notes:
        listener.say(f"Note: {note}.")
    return checked


def needs_calibration(config: StudyConfig) -> bool:
    """Whether pruning looks at training images.

    Raises:
        ConfigError: No such criterion.
    """
    return criterion_named(config.importance).needs_images or config.compensate


def default_name(config: StudyConfig) -> str:
    """Model, goal, runtime and device: `demo-5ms-onnxruntime-1t-on-pi-raspberrypi.local`.

    What is not the default of provider, layout and precision follows the runtime:
    `torch-cuda-channels-last-fp16`;
    classes that are kept follow the model.
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
    if config.precision not in (None, RUNTIMES.row(config.runtime, "--runtime").precisions[0]):
        runtime += f"-{config.precision}"
    place = _plain(config.target.removeprefix("ssh://"))
    target = "" if config.target == "local" else f"-on-{place}"
    if config.classes is not None:
        stem += f"-{_told_apart('-'.join(map(str, config.classes)))}"
    if config.nms is not None:
        stem += "-nms" if config.nms else "-no-nms"
    return f"{stem}{size}-{goal}-{runtime}-{config.threads}t{target}"


def _plain(text: str) -> str:
    """At most 40 characters, fit for a folder's name."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text)[:40]


def _told_apart(text: str) -> str:
    """As `_plain`; texts that differ have different names."""
    plain = _plain(text)
    return plain if plain == text else f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def runtime_options(config: StudyConfig, imgsz: tuple[int, int]) -> RuntimeOptions:
    """What runs the model at an image size (height, width), as asked."""
    return RuntimeOptions(
        runtime=config.runtime,
        imgsz=imgsz,
        threads=config.threads,
        provider=config.provider,
        channels_last=config.channels_last,
        precision=config.precision,
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


def _other_names(yolo: Any, data: DataSummary) -> list[str]:
    known = [str(name) for name in class_names(yolo.model).values()]
    other = [
        f"{index}: {a} / {b}"
        for index, (a, b) in enumerate(zip(known, data.names, strict=True))
        if a != b
    ]
    if not other:
        return []
    shown = ", ".join(other[:5]) + (", ..." if len(other) > 5 else "")
    return [f"class names of model / data differ ({shown}); they count as the same"]


def _check_disk(folder: Path) -> None:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise ConfigError.of("--studies", "", str(existing), "a folder that can be written")
    free = shutil.disk_usage(existing).free
    if free < MIN_FREE_BYTES:
        needed = f"{MIN_FREE_BYTES / 1e6:.0f} MB"
        raise StorageFailed(f"{folder}: only {free / 1e6:.0f} MB of disk are free, {needed} needed")
