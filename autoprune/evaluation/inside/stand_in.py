"""StandIn: what Ultralytics' validator takes for a model, while somebody else gives the answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Array = np.ndarray[Any, Any]
Answers = Callable[[Array], list[Array]]


class StandIn(nn.Module):
    """Has what a validator reads of a model: names, strides, channels, keypoints, branch."""

    def __init__(self, model: nn.Module, answers: Answers, channels: int) -> None:
        """Stand in for a model.

        Args:
            model: A model of any task, which is only looked at.
            answers: Float32 image (1, channels, height, width) in [0, 1] -> the outputs of the
                exported model, in their order.
            channels: Of the images.
        """
        super().__init__()
        described: Any = model
        self.names: dict[int, str] = dict(described.names)
        self.stride: Tensor = described.stride
        self.yaml = {"channels": channels}
        self.task = getattr(model, "task", "detect")
        self.end2end = bool(getattr(model, "end2end", False))
        keypoints = getattr(described.model[-1], "kpt_shape", None)
        if keypoints is not None:
            self.kpt_shape = keypoints
        self._answers = answers

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        """The outputs for a batch, image by image: one tensor, or where there are more a list."""
        pictures = images.cpu().float().numpy()
        answered = [self._answers(np.ascontiguousarray(each[None])) for each in pictures]
        outputs = [
            torch.from_numpy(np.concatenate(same).astype(np.float32)).to(images.device)
            for same in zip(*answered, strict=True)
        ]
        return outputs[0] if len(outputs) == 1 else outputs
