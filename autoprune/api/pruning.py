"""prune_detection_model, load and fine_tune_pruned: from a dense model to a small one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoprune.domain.config import ALLOW_BROKEN, ALLOW_UNLABELLED, Tolerated
from autoprune.domain.plan import Calibration, PruningPlan
from autoprune.errors import ConfigError, PlanError
from autoprune.evaluation.traces import no_traces

if TYPE_CHECKING:
    from ultralytics import YOLO

    from autoprune.evaluation.dataset import DataSummary
    from autoprune.evaluation.inside.pruned_yolo import PrunedYOLO
    from autoprune.pruning.statistics import CalibrationStatistics


@no_traces()
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
    classes: Sequence[int | str] | None = None,
    nms: bool | None = None,
    any_base: bool = False,
    allow_broken: float = ALLOW_BROKEN,
    allow_unlabelled: float = ALLOW_UNLABELLED,
    trust_checkpoint: bool = False,
) -> PrunedYOLO:
    """Prune a YOLO of any family and task; the model given is never changed.

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
        classes: Ids or names of the classes to keep, whose predictions stay the same; else the
            plan's own. Alone, nothing else is pruned.
        nms: Which branch of an end-to-end head is deployed: that with NMS, or (False) the other;
            else as the plan says, or the model.
        any_base: Apply a plan that was written for another model; it is refused otherwise.
        allow_broken: Percent of a split's images that may be broken; they are left out.
        allow_unlabelled: Percent of train's or val's images that may have no labels; never all.
        trust_checkpoint: Load a .pt that holds more than torch and Ultralytics classes.

    Returns:
        A pruned copy, used like any YOLO; its `.train()` keeps the pruned shape, and
        `.how_pruned` says in words which criterion was used, `.notes` what is odd about the images.

    Raises:
        ConfigError: Not exactly one of prune_ratio and prune_yaml, or a wrong value.
        PlanError: The plan does not fit the model, or was written for another one.
        UnsupportedModel: The model holds a layer that cannot be pruned.
    """
    from autoprune.evaluation.branches import choose_branch, deployed_branch, is_end_to_end
    from autoprune.evaluation.checkpoint import (
        check_finite,
        load_yolo,
        model_hash,
        trained_image_size,
    )
    from autoprune.evaluation.data_yaml import read_data_yaml
    from autoprune.evaluation.dataset import inspect_data
    from autoprune.evaluation.fewer_classes import classes_of, kept_classes, with_classes
    from autoprune.evaluation.inside.pruned_yolo import as_pruned_yolo
    from autoprune.evaluation.model_task import model_task
    from autoprune.evaluation.regrowth_guard import seal
    from autoprune.evaluation.sync_norms import without_sync_norms
    from autoprune.pruning.importance import (
        CALIBRATED_IMPORTANCE,
        DEFAULT_IMPORTANCE,
        criterion_named,
    )
    from autoprune.pruning.prune import Pruner, uniform_plan, widths_of

    if classes is not None and prune_yaml is None:
        prune_ratio = prune_ratio or 0.0
    if (prune_ratio is None) == (prune_yaml is None):
        raise ConfigError("prune_detection_model: give exactly one of prune_ratio and prune_yaml")
    yolo = load_yolo(model, trust=trust_checkpoint) if isinstance(model, (str, Path)) else model
    dense = without_sync_norms(yolo.model)
    check_finite(dense, "model")
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
        plan = uniform_plan(widths_of(dense), checked, round_to or 1)
    base = model_hash(dense)
    if plan.base not in (None, base) and not any_base:
        expected = f"the model's own {base} (--any-base applies it all the same)"
        raise PlanError.of(where, "base", plan.base, expected)
    wanted_classes = classes if classes is not None else plan.classes
    kept = None if wanted_classes is None else kept_classes(dense, wanted_classes)
    dense = dense if kept is None else with_classes(dense, kept)
    branch = plan.nms if nms is None else nms
    if branch is not None:
        dense = copy.deepcopy(dense) if kept is None else dense  # the model given is not changed
        choose_branch(dense, branch, where if nms is None else "prune")
    images = _calibration_images(yolo, calibration, plan, seed)
    default = DEFAULT_IMPORTANCE if images is None else CALIBRATED_IMPORTANCE
    chosen = importance or plan.importance or default
    if plan.removes_nothing():
        chosen, compensate = DEFAULT_IMPORTANCE, False
    criterion = criterion_named(chosen)
    compensated = next(
        wish for wish in (compensate, plan.compensate, images is not None) if wish is not None
    )
    statistics: CalibrationStatistics | None = None
    notes: tuple[str, ...] = ()
    if compensated or criterion.needs_images:
        if images is None:
            wanted = f"importance {chosen}" if criterion.needs_images else "compensate"
            raise ConfigError(f"{wanted} needs images: give calibration, the path of a data YAML")
        tolerated = Tolerated(allow_broken, allow_unlabelled)
        known, names = classes_of(dense), read_data_yaml(images.data).names
        in_data = known.in_data(names, images.data) if known else None
        data = inspect_data(images.data, tolerated, model_task(dense).name, in_data)
        notes = data.notes
        size = max(trained_image_size(yolo))
        statistics = _statistics(dense, data, size, images, criterion.needs == "gradients")
    pruner = Pruner(dense, chosen, statistics, compensated)
    pruned = pruner.prune(plan, where)
    if not plan.removes_nothing():
        used = replace(
            plan,
            importance=chosen,
            compensate=compensated,
            calibration=images if statistics else None,
            base=base,
            classes=kept.ids if kept else None,
            nms=None if deployed_branch(dense) is None else not is_end_to_end(dense),
        )
        seal(pruned, {"base": base, "plan": used.to_mapping()})
    result = as_pruned_yolo(pruned, yolo)
    seen = images if statistics else None
    result.how_pruned = "no channel removed"
    if not plan.removes_nothing():
        result.how_pruned = _how_pruned(chosen, compensated, seen)
    result.notes = notes
    return result


@no_traces()
def load(path: str | Path, *, trust_checkpoint: bool = False) -> PrunedYOLO:
    """Open a pruned .pt so that `.train()` keeps its shape.

    Raises:
        ConfigError: Missing, broken or refused file.
        UnsupportedModel: Not a model that detects, segments, or finds keypoints or rotated boxes.
    """
    from autoprune.evaluation.inside.pruned_yolo import load_pruned

    return load_pruned(path, trust=trust_checkpoint)


@no_traces()
def fine_tune_pruned(
    model: PrunedYOLO,
    data: str | Path,
    settings: Mapping[str, Any],
    folder: Path,
    say: Callable[[str], None] = lambda _: None,
    allow_broken: float = ALLOW_BROKEN,
    allow_unlabelled: float = ALLOW_UNLABELLED,
) -> PrunedYOLO:
    """Fine-tune a pruned model at full length, keeping its shape, and return the trained one.

    Args:
        model: What `prune_detection_model` or `load` returned.
        data: Data YAML.
        settings: Ultralytics' training settings, e.g. {"epochs": 50, "lr0": 0.001}.
        folder: Receives Ultralytics' run. A run of the same model, data and settings that was
            interrupted there goes on after its last finished epoch.
        say: Told whether it goes on, and after each epoch how far it is and its main metric on val.
        allow_broken: Percent of a split's images that may be broken; they are left out.
        allow_unlabelled: Percent of train's or val's images that may have no labels; never all.

    Raises:
        ConfigError: An unknown setting, or one that would train another network; `folder` holds
            another fine-tune.
    """
    from autoprune.evaluation.full_fine_tune import fully_fine_tuned

    tolerated = Tolerated(allow_broken, allow_unlabelled)
    return fully_fine_tuned(model, data, settings, folder, say, tolerated)


def _calibration_images(
    yolo: YOLO, data: str | Path | None, plan: PruningPlan, seed: int
) -> Calibration | None:
    from autoprune.evaluation.checkpoint import trained_image_size
    from autoprune.search.context.calibration_images import calibration_images

    noted = plan.calibration  # comes first: the same file gives the same channels
    if noted is not None and (data is None or Path(noted.data).exists()):
        return noted
    if data is None:
        return None
    if noted is not None:
        return Calibration(str(data), noted.images, noted.seed)
    return Calibration(str(data), calibration_images(max(trained_image_size(yolo))), seed)


def _statistics(
    dense: Any, data: DataSummary, imgsz: int, images: Calibration, taylor: bool
) -> CalibrationStatistics:
    from autoprune.evaluation.class_head import in_order_of
    from autoprune.evaluation.device import choose_device
    from autoprune.search.learn.calibration import calibrate

    return calibrate(
        in_order_of(dense, data.names, str(data.path)),
        data,
        imgsz,
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
