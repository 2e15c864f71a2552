"""Ultralytics' own model recipes, and models built from them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from torch import nn
from ultralytics.nn import tasks
from ultralytics.nn.modules import head as heads

DOWNLOADING = ("TorchVision",)  # layers whose constructor fetches weights
_MODELS: dict[str, type[tasks.DetectionModel]] = {
    "detect": tasks.DetectionModel,
    "segment": tasks.SegmentationModel,
    "pose": tasks.PoseModel,
    "obb": tasks.OBBModel,
}
HEADS: dict[str, tuple[type[nn.Module], ...]] = {
    "detect": (heads.Detect, heads.v10Detect),
    "segment": (heads.Segment, heads.Segment26),
    "pose": (heads.Pose, heads.Pose26),
    "obb": (heads.OBB, heads.OBB26),
}


def read_recipe(name: str) -> dict[str, Any]:
    """The recipe of a model YAML: a file, or a name Ultralytics ships, such as `yolov8s.yaml`.

    Raises:
        FileNotFoundError: There is none.
    """
    recipe: dict[str, Any] = copy.deepcopy(tasks.yaml_model_load(name))
    return recipe


def stock_model(
    name: str, channels: int, classes: int, keypoints: Sequence[int] | None = None
) -> nn.Module:
    """A stock model with random weights, in eval mode; a pose model may find other keypoints."""
    recipe = read_recipe(name)
    if keypoints is not None:
        recipe["kpt_shape"] = list(keypoints)
    task = task_of(recipe)
    build: Any = _MODELS[task]
    model: Any = build(recipe, ch=channels, nc=classes, verbose=False)
    model.task = task
    return model.eval()  # type: ignore[no-any-return]


def layer_class(name: str) -> object:
    """What Ultralytics would call for a layer of this name in a recipe; None if there is none."""
    owner: Any = nn if name.startswith("nn.") else tasks
    found: object = getattr(owner, name.removeprefix("nn."), None)
    return found


def task_of(model_or_recipe: object) -> str:
    """The task Ultralytics takes a model or recipe for: "detect", "segment" ..."""
    return str(tasks.guess_model_task(model_or_recipe))


def plain_task(module: nn.Module) -> str | None:
    """The task of a model of exactly Ultralytics' own class and head, no subclass of either.

    None for any other module.
    """
    layers = getattr(module, "model", None)
    head = layers[-1] if isinstance(layers, nn.Sequential) and len(layers) else None
    return next(
        (
            task
            for task, model in _MODELS.items()
            if type(module) is model and type(head) in HEADS[task]
        ),
        None,
    )
