"""Parameters and multiply-accumulates of a detection model."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from autoprune.domain.record import ModelSize

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def model_size(model: nn.Module, imgsz: tuple[int, int]) -> ModelSize:
    """Count parameters, and the MACs of every convolution in one forward pass at batch 1.

    The pass runs on torch's meta device: shapes only, no arithmetic. A branch that is for training
    alone (`shapes_alone`) counts among the parameters, not among the MACs; an attention's products
    of feature maps are left out.

    Args:
        model: An Ultralytics model; not changed.
        imgsz: Height and width in pixels, multiples of the model's largest stride.
    """
    params = sum(parameter.numel() for parameter in model.parameters())
    shadow = shapes_alone(model)
    macs = 0

    def count(conv: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        assert isinstance(conv, CONVOLUTIONS)
        taps = conv.kernel_size[0] * conv.kernel_size[1]
        if isinstance(conv, nn.ConvTranspose2d):
            macs += inputs[0].numel() * conv.out_channels // conv.groups * taps
        else:
            macs += output.numel() * conv.in_channels // conv.groups * taps

    for module in shadow.modules():
        if isinstance(module, CONVOLUTIONS):
            module.register_forward_hook(count)
    with torch.no_grad():
        shadow(blank(shadow, imgsz))
    return ModelSize(params=params, macs=macs)


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
