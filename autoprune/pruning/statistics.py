"""Calibration statistics: what images tell about every convolution's input and output."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Batch = Mapping[str, Tensor]
LossOf = Callable[[nn.Module, Batch], Tensor]
"""(model, batch) -> scalar loss, differentiable with respect to every feature map."""

LEAST_IMAGES = 16  # whatever the time limit
LEAST_ROWS = 250  # patches drawn per convolution and image ...
ROWS_PER_COLUMN = 0.125  # ... or this share of the covariance's side, if that is more
_BLOCK = 512  # columns: of the blocks right of the diagonal the mirror image is enough
GRADIENT_POWER = 0.5  # a patch counts by its gradient's energy to this power ...
EVEN_SHARE = 0.1  # ... mixed with this much of the same weight for all
KERNEL_WIDE_BYTES = 500_000_000  # for covariances over kernel positions; the rest: channels only


@dataclass(frozen=True)
class InputMoments:
    """Weighted mean and covariance of what one convolution reads.

    Attributes:
        mean: Shape (d,), float32.
        covariance: Shape (d, d), float32, central.
        kernel_wide: d is channels x kernel height x kernel width, in the order of the weight's
            `flatten(1)`; otherwise d is channels, over all pixels.
    """

    mean: Tensor
    covariance: Tensor
    kernel_wide: bool


def ridge_for(moments: InputMoments, share: float) -> float:
    """What to add to a covariance's diagonal before it is inverted: a share of its mean.

    A constant input leaves rounding errors for a covariance: then a little of its square; 1 for an
    input that is always 0.
    """
    spread = float(moments.covariance.diagonal().to(torch.float64).mean())
    noise = 1e-6 * float(moments.mean.to(torch.float64).square().mean())
    return share * spread if spread > noise else noise or 1.0


@dataclass(frozen=True)
class CalibrationStatistics:
    """What a few batches of the user's images told about the dense model.

    Attributes:
        weight_gradients: `nn.Conv2d` name -> sum over batches of weight * gradient, in the
            weight's shape (criterion taylor).
        inputs: `nn.Conv2d` name -> moments of its input (criterion obs, compensation). One that
            runs in training alone, as for an auxiliary loss, is not there.
        output_fisher: `nn.Conv2d` name -> squared gradient of the loss by each output channel,
            summed over pixels, averaged over images, shape (out_channels,): what an error there
            costs, comparable between feature maps of any size.
        images: How many were looked at; 0 if nobody counted.
    """

    weight_gradients: Mapping[str, Tensor] = field(default_factory=dict)
    inputs: Mapping[str, InputMoments] = field(default_factory=dict)
    output_fisher: Mapping[str, Tensor] = field(default_factory=dict)
    images: int = 0


class _Accumulator:
    """Running weighted sums for one convolution."""

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d, kernel_wide: bool) -> None:
        self.conv, self.kernel_wide = conv, kernel_wide
        kernel = conv.kernel_size[0] * conv.kernel_size[1]
        size = conv.in_channels * (kernel if kernel_wide else 1)
        self.weight = 0.0
        self.sum = conv.weight.new_zeros(size)
        self.gram = conv.weight.new_zeros(size, size)
        self.fisher = conv.weight.new_zeros(conv.out_channels)
        self.images = 0

    def add(self, inputs: Tensor, gradient: Tensor, generator: torch.Generator) -> None:
        """Add one batch: inputs (n, c, h, w), gradient by the outputs (n, o, h', w')."""
        energy = gradient.square()
        self.fisher += energy.sum(dim=(0, 2, 3))
        self.images += len(inputs)
        energy = energy.sum(dim=1)
        if not self.kernel_wide and energy.shape[1:] != inputs.shape[2:]:  # strided or transposed
            energy = functional.interpolate(energy[:, None], size=inputs.shape[2:])[:, 0]
        weights = _weights(energy.flatten())
        most = len(inputs) * max(LEAST_ROWS, int(ROWS_PER_COLUMN * len(self.sum)))
        if len(weights) <= most:
            rows = self._patches(inputs, torch.arange(len(weights)), energy.shape)
            weighted = rows * weights[:, None]
        else:  # drawn by their weights, each counts the same
            drawn = torch.multinomial(weights.cpu(), most, replacement=True, generator=generator)
            rows = weighted = self._patches(inputs, drawn, energy.shape)
        self.weight += float(len(rows))  # which is the weights' sum
        self.sum += weighted.sum(dim=0)
        for start, stop in self._blocks():
            self.gram[start:stop, :stop].addmm_(weighted[:, start:stop].T, rows[:, :stop])

    def _patches(self, inputs: Tensor, places: Tensor, shape: torch.Size) -> Tensor:
        """What the kernel reads at some places, (places, d).

        Args:
            inputs: Shape (n, c, h, w).
            places: Flat positions in a map of `shape`.
            shape: (n, h', w'), of the outputs; that of the inputs for channels alone.
        """
        conv, pixels = self.conv, inputs.permute(0, 2, 3, 1)
        image, row, column = torch.unravel_index(places.to(inputs.device), shape)
        if not self.kernel_wide:
            return pixels[image, row, column]
        assert not isinstance(conv.padding, str)
        down, across = (
            at[:, None] * stride - padding + dilation * torch.arange(size, device=inputs.device)
            for at, stride, padding, dilation, size in zip(
                (row, column),
                conv.stride,
                conv.padding,
                conv.dilation,
                conv.kernel_size,
                strict=True,
            )
        )
        down, across = down[:, :, None], across[:, None, :]
        height, width = inputs.shape[2:]
        inside = (down >= 0) & (down < height) & (across >= 0) & (across < width)
        patches = pixels[
            image[:, None, None], down.clamp(0, height - 1), across.clamp(0, width - 1)
        ]
        patches.mul_(inside[..., None])  # zeros where the padding lies
        flat: Tensor = patches.permute(0, 3, 1, 2).flatten(1)
        return flat

    def _blocks(self) -> list[tuple[int, int]]:
        size = len(self.sum)
        return [(start, min(start + _BLOCK, size)) for start in range(0, size, _BLOCK)]

    def moments(self) -> InputMoments:
        """Turns the sums into moments in place; nothing can be added afterwards."""
        for start, stop in self._blocks():
            self.gram[:start, start:stop] = self.gram[start:stop, :start].T
        mean = self.sum.div_(self.weight)
        covariance = self.gram.div_(self.weight).addr_(mean, mean, alpha=-1)
        return InputMoments(mean.cpu(), covariance.cpu(), self.kernel_wide)


def _weights(energy: Tensor) -> Tensor:
    """How much each place counts, mean 1, by the gradient's energy there."""
    strength = energy.pow(GRADIENT_POWER)
    mean = strength.mean()
    if mean > 0:
        return strength / mean * (1 - EVEN_SHARE) + EVEN_SHARE
    return torch.ones_like(strength)


def collect_statistics(
    model: nn.Module,
    convolutions: Collection[str],
    batches: Iterable[Batch],
    loss_of: LossOf,
    seed: int = 0,
    limit_s: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> CalibrationStatistics:
    """One forward and backward pass over labelled images, no training.

    Every patch a convolution reads counts by the square root of the loss gradient's energy where
    it is written: on pixels that decide a detection an error costs, on background it hardly does.
    Weighting by gradients follows the diagonal-Fisher view of Optimal Brain Surgeon (Hassibi and
    Stork 1993; Singh and Alistarh 2020, arXiv 2004.14340).

    Args:
        model: Stays as it is (its gradients are switched off and on again).
        convolutions: Names of the `nn.Conv2d` to watch.
        batches: What `loss_of` understands; tensors already on the model's device.
        loss_of: The training loss of one batch.
        seed: Which patches are drawn.
        limit_s: Seconds. After `LEAST_IMAGES` no batch is begun that would end later, going by the
            last one. What is found depends on how many images were looked at, not on the limit.
        clock: Tells the time in seconds.

    Raises:
        ValueError: No batch.
        FloatingPointError: The loss is not finite.
    """
    modules = dict(model.named_modules())
    wide = kernel_wide(modules, convolutions)
    found: dict[str, _Accumulator] = {}
    generator = torch.Generator().manual_seed(seed)
    handles = []

    def watch(name: str) -> Callable[..., Tensor | None]:
        def forward(conv: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            read, first = inputs[0].detach(), not output.requires_grad
            if first:  # gradients flow back to here and no further
                output = output.detach().requires_grad_(True)

            def backward(gradient: Tensor) -> None:
                found[name].add(read, gradient, generator)

            output.register_hook(backward)  # type: ignore[no-untyped-call]
            return output.clone() if first else None  # a leaf must not be changed in place

        return forward

    for name in convolutions:
        conv = modules[name]
        assert isinstance(conv, (nn.Conv2d, nn.ConvTranspose2d))
        found[name] = _Accumulator(conv, name in wide)
        handles.append(conv.register_forward_hook(watch(name)))
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    seen, began = 0, clock()
    ended = began
    try:
        for batch in batches:
            loss = loss_of(model, batch)
            if not torch.isfinite(loss):
                raise FloatingPointError("the loss is not finite on training images")
            loss.backward()  # type: ignore[no-untyped-call]
            del loss  # its graph holds every feature map; the next batch brings its own
            seen += len(batch["img"])
            before, ended = ended, clock()
            next_end = ended + (ended - before)
            if limit_s is not None and seen >= LEAST_IMAGES and next_end - began > limit_s:
                break
    finally:
        for handle in handles:
            handle.remove()
        for parameter in trainable:
            parameter.requires_grad_(True)
    if not seen:
        raise ValueError("got no images, expected at least one batch")
    return CalibrationStatistics(
        inputs={name: one.moments() for name, one in found.items() if one.images},
        output_fisher={
            name: (one.fisher / one.images).cpu() for name, one in found.items() if one.images
        },
        images=seen,
    )


def kernel_wide(modules: Mapping[str, Any], convolutions: Collection[str]) -> set[str]:
    """Convolutions whose covariance may span kernel positions: the smallest first, up to a limit.

    A 3x3 convolution of 640 channels would need 133 MB; a 1x1 one loses nothing by channels alone.
    A transposed convolution reads one pixel at a time: channels alone.
    """
    sizes = sorted(
        (modules[name].weight[0].numel() ** 2 * modules[name].weight.element_size(), name)
        for name in convolutions
        if isinstance(modules[name], nn.Conv2d)
    )
    chosen, total = set(), 0
    for size, name in sizes:
        total += size
        if total <= KERNEL_WIDE_BYTES:
            chosen.add(name)
    return chosen
