"""Which task a model has learned, and whether data teach it."""

from __future__ import annotations

from typing import Any

from torch import nn

from autoprune.domain.task import TASKS, Task
from autoprune.errors import ConfigError
from autoprune.evaluation.inside.stock import plain_task


def model_task(module: nn.Module) -> Task:
    """The task of a model that `load_yolo` opens."""
    return TASKS[plain_task(module) or "detect"]


def check_keypoints(module: nn.Module, keypoints: tuple[int, int] | None, data: str) -> None:
    """Refuse data with other keypoints than a pose model finds.

    Args:
        module: A model of any task; none but pose has keypoints.
        keypoints: The data's `kpt_shape`.
        data: The data's name in the message.

    Raises:
        ConfigError: As said.
    """
    if model_task(module).name != "pose":
        return
    layers: Any = module.model
    known = list(layers[-1].kpt_shape)
    if keypoints is None or list(keypoints) != known:
        got = None if keypoints is None else list(keypoints)
        raise ConfigError.of(data, "kpt_shape", got, f"the model's {known}")
