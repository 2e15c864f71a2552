"""The branches of an end-to-end head, as YOLO10's and 26's: which one is deployed."""

from __future__ import annotations

from typing import Any

from torch import nn

from autoprune.errors import ConfigError

WITH_NMS = "one-to-many, whose boxes go through NMS"
END_TO_END = "one-to-one (end-to-end), without NMS"


def choose_branch(model: nn.Module, nms: bool | None, where: str) -> None:
    """Set which branch of a model is validated, timed and exported, in place.

    Both are pruned and trained. A copy or file of the model keeps the choice.

    Args:
        model: A model of any task.
        nms: True for the one-to-many branch, as Ultralytics' default; False for the one-to-one
            branch; None: as the model says.
        where: The model's name in the message.

    Raises:
        ConfigError: It has no such branch.
    """
    head = _head(model)
    if nms is False and getattr(head, "one2one_cv2", None) is None:
        got = f"a head {type(head).__name__} with one branch"
        raise ConfigError.of(where, "--no-nms", got, "an end-to-end head, as of YOLO10 and 26")
    if nms and getattr(head, "one2one_cv2", None) is not None and head.cv2 is None:
        raise ConfigError.of(where, "--nms", "a fused model without that branch", "--no-nms")
    if nms is not None and getattr(head, "one2one_cv2", None) is not None:
        head.end2end = not nms


def is_end_to_end(model: nn.Module) -> bool:
    """Whether the one-to-one branch is deployed."""
    return bool(getattr(_head(model), "end2end", False))


def deployed_branch(model: nn.Module) -> str | None:
    """Which branch is deployed, in words; None where there is only one."""
    if getattr(_head(model), "one2one_cv2", None) is None:
        return None
    return END_TO_END if is_end_to_end(model) else WITH_NMS


def _head(model: nn.Module) -> Any:
    layers: Any = model.model
    return layers[-1]
