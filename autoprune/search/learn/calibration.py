"""Calibration: statistics of training images for importance and compensation, cached by content."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autoprune.domain.schema import load_json, save_json
from autoprune.errors import ConfigError
from autoprune.evaluation.checkpoint import model_hash, trained_image_size
from autoprune.evaluation.class_head import check_classes
from autoprune.evaluation.dataset import DataSummary
from autoprune.evaluation.gradients import collect_taylor
from autoprune.evaluation.images import check_channels
from autoprune.evaluation.inside.loss import detection_loss
from autoprune.evaluation.model_task import check_keypoints
from autoprune.evaluation.training_loss import (
    labelled_batches,
    loss_model,
    sample_images,
)
from autoprune.evaluation.watchdog import watched
from autoprune.families import channels_of
from autoprune.pruning.importance import criterion_named
from autoprune.pruning.prune import Pruner
from autoprune.pruning.statistics import CalibrationStatistics, InputMoments, collect_statistics
from autoprune.search.context.budget import Allowance
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.workbench import Calibrated, Measured
from autoprune.storage.cache import cache_folder
from autoprune.storage.study_folder import StudyFolder

_WITHOUT_IMAGES = "; only importance l2_bn uncompensated needs no images"
CACHE_BYTES = 3_000_000_000
LOOKING = 0.7  # of the stage's time: what is left goes to sums at the end and to ranking channels
_VERSION = 5  # of the statistics: raise it when their meaning changes


def calibrated(bench: Measured, allowance: Allowance, listener: SearchListener) -> Calibrated:
    """Look at the training images, or at what an earlier look found, and rank all channels.

    As many images are looked at as the stage's time allows; a continued study, and one that takes
    over from an earlier one, has the same ones again.

    Raises:
        ConfigError, TrialFailed: As `calibrate`.
    """
    statistics, config, wanted = None, bench.config, bench.calibration
    if wanted is not None:
        known = next(filter(None, map(images_of, (bench.folder, *bench.earlier))), None)
        limited = known is None and allowance.budget.limited
        images = known or wanted.images
        listener.candidate(f"dense model, {images} training images", None, None)
        listener.stage("calibrate")
        size = max(trained_image_size(bench.yolo))
        if bench.folder.shared is not None:
            bench.folder.shared.fetch_statistics(_cached(bench, size, images, wanted.seed))
        statistics = calibrate(
            bench.yolo.model,
            bench.data,
            size,
            images,
            wanted.seed,
            bench.device,
            taylor=criterion_named(config.importance).needs == "gradients",
            limit_s=LOOKING * allowance.left_s() if limited else None,
        )
        used = statistics.images or images
        if used < min(images, len(bench.data.train)):
            listener.say(f"Time for {used} of {images} training images, to rank channels by.")
        save_json("calibration.json", bench.folder.calibration, {"images": used})
        if bench.folder.shared is not None:
            bench.folder.shared.send_statistics(_cached(bench, size, used, wanted.seed))
        wanted = replace(wanted, images=used)
    pruner = Pruner(bench.yolo.model, config.importance, statistics, config.compensate)
    return bench.grown(Calibrated, pruner=pruner, calibration=wanted)


def _cached(bench: Measured, imgsz: int, images: int, seed: int) -> Path:
    """Where the statistics of so many images are kept on this machine."""
    count = min(images, len(bench.data.train))
    return _file(_folder(), bench.yolo.model, bench.data, imgsz, count, seed)


def images_of(folder: StudyFolder) -> int | None:
    """How many images a study looked at; None where it has not said so.

    Raises:
        ConfigError: calibration.json is broken, or of a newer schema.
    """
    if not folder.calibration.exists():
        return None
    images = load_json("calibration.json", folder.calibration).get("images")
    if isinstance(images, bool) or not isinstance(images, int) or images < 1:
        raise ConfigError.of(str(folder.calibration), "images", images, "a whole number from 1")
    return images


def calibrate(
    module: nn.Module,
    data: DataSummary,
    imgsz: int,
    images: int,
    seed: int = 0,
    device: str = "cpu",
    *,
    taylor: bool = False,
    cache: Path | None = None,
    limit_s: float | None = None,
) -> CalibrationStatistics:
    """Collect what pruning needs to know about a dense model from its training images.

    The result says how many images it comes from. Asked again for that many, it is the very same,
    whether a time limit or the data set's size kept them from being more.

    Args:
        module: The dense DetectionModel; unchanged.
        data: Its training images are used, never val or test.
        imgsz: Side of the square pictures in pixels.
        images: How many at most, drawn by `seed`.
        seed: Same seed, same images; fewer are the first ones of more.
        device: Where to compute.
        taylor: Collect first-order Taylor scores too, for the criterion of that name.
        cache: Folder of earlier results; the user's cache folder by default.
        limit_s: Seconds to look at images, except that `LEAST_IMAGES` are looked at however long
            it takes. Taylor scores of as many images come on top.

    Raises:
        ConfigError: No image, a broken one, classes that are not the model's, or a loss that is
            not finite.
        TrialFailed: ("nan") Likewise, while collecting Taylor scores.
    """
    if images < 1:
        raise ConfigError.of("calibration", "images", images, "at least 1")
    check_classes(module, len(data.names), str(data.path), _WITHOUT_IMAGES)
    check_channels(module, data.channels, str(data.path))
    check_keypoints(module, data.kpt_shape, str(data.path))
    folder = cache or _folder()
    count = min(images, len(data.train))
    statistics = _read(_file(folder, module, data, imgsz, count, seed))
    if statistics is None:
        statistics = _collect(module, data, imgsz, count, seed, device, limit_s)
        _write(_file(folder, module, data, imgsz, statistics.images, seed), statistics)
    if not taylor:
        return statistics
    gradients = collect_taylor(module, data, imgsz, statistics.images, seed, device)
    return replace(statistics, weight_gradients=gradients)


def _collect(
    module: nn.Module,
    data: DataSummary,
    imgsz: int,
    images: int,
    seed: int,
    device: str,
    limit_s: float | None,
) -> CalibrationStatistics:
    groups = channels_of(module).groups
    readers = list(dict.fromkeys(part.module for group in groups for part in group.consumers))
    batches = labelled_batches(data, sample_images(data, images, seed), imgsz, device)
    try:
        with watched("calibration"):
            return collect_statistics(
                loss_model(module, device), readers, batches, detection_loss, seed, limit_s
            )
    except FloatingPointError as error:
        raise ConfigError(f"{data.path}: {error}") from error


def _folder() -> Path:
    return cache_folder() / "calibration"


def _file(
    folder: Path, module: nn.Module, data: DataSummary, imgsz: int, images: int, seed: int
) -> Path:
    facts = [_VERSION, model_hash(module), data.sha256, imgsz, images, seed]
    return folder / f"{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]}.pt"


def _read(file: Path) -> CalibrationStatistics | None:
    """Earlier statistics; None when there are none or the file is damaged."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        statistics = CalibrationStatistics(
            inputs={name: InputMoments(*values) for name, values in content["inputs"].items()},
            output_fisher=content["output_fisher"],
            images=content["images"],
        )
    except Exception:  # not there, or damaged in whatever way: collect again
        return None
    with suppress(OSError):  # a cache that is read only
        os.utime(file)
    return statistics


def _write(file: Path, statistics: CalibrationStatistics) -> None:
    """Keep statistics for next time, if the disk lets us; beyond the cap the oldest go."""
    content: dict[str, Any] = {
        "inputs": {
            name: (one.mean, one.covariance, one.kernel_wide)
            for name, one in statistics.inputs.items()
        },
        "output_fisher": dict(statistics.output_fisher),
        "images": statistics.images,
    }
    draft = file.with_suffix(f".{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, draft)
        draft.replace(file)
        _trim(file.parent)
    except (OSError, RuntimeError):  # a full disk: torch reports it as RuntimeError
        with suppress(OSError):
            draft.unlink()


def _trim(folder: Path) -> None:
    """Drop what was not used for longest; drafts of a killed process go the same way."""
    newest_first = sorted(folder.glob("*.p*t"), key=lambda file: -file.stat().st_mtime)
    total = 0
    for file in newest_first:
        total += file.stat().st_size
        if total > CACHE_BYTES:
            file.unlink(missing_ok=True)
