"""Parameters and multiply-accumulates of a detection model."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from autoprune.domain.record import ModelSize


def model_size(model: nn.Module, imgsz: tuple[int, int]) -> ModelSize:
    """Count parameters, and the MACs of one forward pass at batch 1.

    Torch's own counter counts: convolutions, linear layers and an attention's products of feature
    maps. The pass runs on torch's meta device: shapes only, no arithmetic. A branch that is for
    training alone (`shapes_alone`) counts among the parameters, not among the MACs.

    Args:
        model: An Ultralytics model; not changed.
        imgsz: Height and width in pixels, multiples of the model's largest stride.
    """
    params = sum(parameter.numel() for parameter in model.parameters())
    shadow = shapes_alone(model)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        shadow(blank(shadow, imgsz))
    return ModelSize(params=params, macs=counter.get_total_flops() // 2)


def shapes_alone(model: nn.Module) -> Any:
    """A copy on torch's meta device, in eval mode, as deployed: its head gives raw outputs.

    Of a head with two branches (`one2one_...` and the other) one is deployed, as it says itself.
    """
    shadow: Any = copy.deepcopy(model).to("meta").eval()
    head = shadow.model[-1]
    head.training = True  # the head alone: no anchors to compute without values
    _keep_deployed_branch(head)
    for name in ("cv4_sigma", "one2one_cv4_sigma"):  # how sure keypoints are, for a loss alone
        if convs := getattr(head, name, None):
            setattr(head, name, nn.ModuleList(_Unread(conv.out_channels) for conv in convs))
    return shadow


class _Unread(nn.Module):
    """Stands for a 1x1 convolution that training alone runs."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, features: Tensor) -> Tensor:
        images, _, height, width = features.shape
        return features.new_empty(images, self.channels, height, width)


def _keep_deployed_branch(head: Any) -> None:
    if getattr(head, "one2one_cv2", None) is None or getattr(head, "cv2", None) is None:
        return
    end_to_end = bool(getattr(head, "end2end", False))
    for name in [name for name, _ in head.named_children() if name.startswith("one2one_")]:
        setattr(head, name.removeprefix("one2one_") if end_to_end else name, None)


def blank(shadow: nn.Module, imgsz: tuple[int, int]) -> Tensor:
    """An image without values for `shapes_alone`, (1, channels, height, width)."""
    first = next(each for each in shadow.modules() if isinstance(each, nn.Conv2d))
    shape = (1, first.in_channels, *imgsz)
    return torch.empty(shape, device="meta", dtype=first.weight.dtype)
