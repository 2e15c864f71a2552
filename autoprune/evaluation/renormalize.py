"""Give batch norms the network's own mean and variance without changing what it computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from autoprune.errors import TrialFailed
from autoprune.evaluation.images import input_channels, load_batch


@dataclass
class _Seen:
    """Pixels, means and variances by channel of what one batch norm read, batch after batch."""

    pixels: list[int] = field(default_factory=list)
    means: list[Tensor] = field(default_factory=list)
    variances: list[Tensor] = field(default_factory=list)

    def add(self, x: Tensor) -> None:
        """Add one batch of shape (n, c, h, w)."""
        variance, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0)
        self.pixels.append(x.numel() // x.shape[1])
        self.means.append(mean.double())
        self.variances.append(variance.double())

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and unbiased variance over all pixels, float64, as a batch norm keeps them."""
        means, total = torch.stack(self.means), sum(self.pixels)
        counts = means.new_tensor(self.pixels)[:, None]
        mean = (counts * means).sum(dim=0) / total
        within_and_between = torch.stack(self.variances) + (means - mean).square()
        return mean, (counts * within_and_between).sum(dim=0) / max(1, total - 1)


def renormalize_batchnorm(
    module: nn.Module,
    images: Sequence[Path],
    imgsz: int,
    device: str = "cpu",
    batch: int = 32,
) -> None:
    """Replace every BatchNorm's running statistics by the network's own, in place.

    Weight and bias change with them, so that the network computes in eval mode what it did before.
    A training step, however, normalizes by its batch: where the running statistics are far from
    the network's own, as after pruning with compensation, the first step would jump to another
    function. Batch norms without weights or without running statistics stay as they are.

    Args:
        module: Detector; its modes and every output in eval mode stay as they are.
        images: Training images, at least one.
        imgsz: Side of the square pictures in pixels.
        device: Where to compute; the module ends where it began.
        batch: Images per forward pass.

    Raises:
        TrialFailed: ("nan") The statistics are not finite.
        ValueError: No image.
    """
    seen = {
        part: _Seen()
        for part in module.modules()
        if isinstance(part, nn.BatchNorm2d) and part.affine and part.running_mean is not None
    }
    if not images:
        raise ValueError("got no images, expected at least 1")
    home, channels = next(module.parameters()).device, input_channels(module)
    modes = {part: part.training for part in module.modules()}

    def watch(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        seen[norm].add(inputs[0])

    handles = [norm.register_forward_pre_hook(watch) for norm in seen]
    module.to(device).eval()
    try:
        with torch.no_grad():
            for start in range(0, len(images), batch):
                pictures = load_batch(images[start : start + batch], imgsz, channels)
                module(pictures.to(device))
    finally:
        for handle in handles:
            handle.remove()
        module.to(home)
        for part, training in modes.items():
            part.training = training
    for norm, found in seen.items():
        if found.pixels:  # a part of the network that no image reaches has none
            _rewrite(norm, *found.moments())


def _rewrite(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """Other running statistics, the same function: y = gain * x + (bias - gain * mean)."""
    if not (torch.isfinite(mean).all() and torch.isfinite(variance).all()):
        raise TrialFailed("nan", "BatchNorm statistics are not finite")
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():
        mean, variance = mean.to(norm.running_mean.device), variance.to(norm.running_var.device)
        gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        norm.bias.add_(gain * (mean - norm.running_mean.double()))
        norm.weight.copy_(gain * (variance + norm.eps).sqrt())
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
