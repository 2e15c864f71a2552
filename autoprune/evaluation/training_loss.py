"""The training loss of a frozen model on labelled training images, for gradients alone."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autoprune.evaluation.dataset import DataSummary
from autoprune.evaluation.images import load_labelled_batch
from autoprune.evaluation.inside.loss import make_loss_ready

_PIXELS_PER_BATCH = 16 * 192 * 192  # keeps a backward pass of the largest models in bounds


class _FrozenNorm(nn.Module):
    """A batch norm in eval mode as scale and shift: its backward pass keeps no feature map."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight.detach() / (norm.running_var + norm.eps).sqrt()
        self.scale = scale[:, None, None]
        self.shift = (norm.bias.detach() - norm.running_mean * scale)[:, None, None]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * self.scale).add_(self.shift)


def loss_model(module: nn.Module, device: str) -> nn.Module:
    """A copy of a DetectionModel in float32, eval mode and on `device`, whose loss can be asked.

    Its batch norms are frozen, which saves a third of the memory of a backward pass.
    """
    model: Any = copy.deepcopy(module).float().to(device).eval()
    for part in list(model.modules()):
        for name, child in part.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(part, name, _FrozenNorm(child))
    make_loss_ready(model)
    return model  # type: ignore[no-any-return]


def sample_images(data: DataSummary, count: int, seed: int) -> list[Path]:
    """Training images drawn without repetition; all of them if there are no more than `count`.

    Of the same seed, fewer images are the first ones of more.
    """
    return random.Random(seed).sample(data.train, len(data.train))[:count]  # noqa: S311


def labelled_batches(
    data: DataSummary, images: list[Path], imgsz: int, device: str
) -> Iterator[dict[str, torch.Tensor]]:
    """Batches on `device` as `load_labelled_batch` describes them, smaller for larger pictures.

    Args:
        data: Gives the classes and the layout of the label files.
        images: Labelled images.
        imgsz: Side of the square pictures in pixels.
        device: Where the tensors go.

    Raises:
        ConfigError: A file is not a readable image or label file.
    """
    size = max(1, _PIXELS_PER_BATCH // imgsz**2)
    for start in range(0, len(images), size):
        part = images[start : start + size]
        batch = load_labelled_batch(part, imgsz, data.classes_in_files, data.channels, data.layout)
        yield {key: value.to(device) for key, value in batch.items()}
