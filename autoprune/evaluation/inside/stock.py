"""Ultralytics' own model recipes, and models built from them."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn
from ultralytics.nn import tasks

DOWNLOADING = ("TorchVision",)  # layers whose constructor fetches weights


def read_recipe(name: str) -> dict[str, Any]:
    """The recipe of a model YAML: a file, or a name Ultralytics ships, such as `yolov8s.yaml`.

    Raises:
        FileNotFoundError: There is none.
    """
    recipe: dict[str, Any] = copy.deepcopy(tasks.yaml_model_load(name))
    return recipe


def stock_model(name: str, channels: int, classes: int) -> nn.Module:
    """A stock detection model with random weights, in eval mode."""
    recipe = read_recipe(name)
    model: nn.Module = tasks.DetectionModel(recipe, ch=channels, nc=classes, verbose=False)
    return model.eval()


def layer_class(name: str) -> object:
    """What Ultralytics would call for a layer of this name in a recipe; None if there is none."""
    owner: Any = nn if name.startswith("nn.") else tasks
    found: object = getattr(owner, name.removeprefix("nn."), None)
    return found


def task_of(model_or_recipe: object) -> str:
    """The task Ultralytics takes a model or recipe for: "detect", "segment" ..."""
    return str(tasks.guess_model_task(model_or_recipe))


def is_plain_detector(module: nn.Module) -> bool:
    """Whether it is exactly a DetectionModel with a Detect head, no subclass of either."""
    layers = getattr(module, "model", None)
    head = layers[-1] if isinstance(layers, nn.Sequential) and len(layers) else None
    return type(module) is tasks.DetectionModel and type(head) is tasks.Detect
