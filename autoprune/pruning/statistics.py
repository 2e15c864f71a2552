"""Calibration statistics: what images tell about every convolution's input and output."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Batch = Mapping[str, Tensor]
LossOf = Callable[[nn.Module, Batch], Tensor]
"""(model, batch) -> scalar loss, differentiable with respect to every feature map."""

ROWS_PER_IMAGE = 250  # patches drawn per convolution and image; more did not change a plan's mAP
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
        inputs: `nn.Conv2d` name -> moments of its input (criterion obs, compensation).
        output_fisher: `nn.Conv2d` name -> squared gradient of the loss by each output channel,
            summed over pixels, averaged over images, shape (out_channels,): what an error there
            costs, comparable between feature maps of any size.
    """

    weight_gradients: Mapping[str, Tensor] = field(default_factory=dict)
    inputs: Mapping[str, InputMoments] = field(default_factory=dict)
    output_fisher: Mapping[str, Tensor] = field(default_factory=dict)


class _Accumulator:
    """Running weighted sums for one convolution."""

    def __init__(self, conv: nn.Conv2d, kernel_wide: bool) -> None:
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
        rows, importance = self._rows(inputs, energy.sum(dim=1))
        most = ROWS_PER_IMAGE * len(inputs)
        if len(rows) > most:
            drawn = torch.randperm(len(rows), generator=generator)[:most].to(rows.device)
            rows, importance = rows[drawn], importance[drawn]
        importance = importance.pow(GRADIENT_POWER)
        mean = importance.mean()
        if mean > 0:
            importance = importance / mean * (1 - EVEN_SHARE) + EVEN_SHARE
        else:
            importance = torch.ones_like(importance)
        weighted = rows * importance[:, None]
        self.weight += float(importance.sum())
        self.sum += weighted.sum(dim=0)
        self.gram += weighted.T @ rows

    def _rows(self, inputs: Tensor, energy: Tensor) -> tuple[Tensor, Tensor]:
        """Patches (rows, d) and the gradient's energy at each."""
        conv = self.conv
        if not self.kernel_wide and energy.shape[-2:] != inputs.shape[-2:]:  # a strided kernel
            energy = functional.interpolate(energy[:, None], size=inputs.shape[-2:])[:, 0]
        if self.kernel_wide:
            assert not isinstance(conv.padding, str)
            patches = functional.unfold(
                inputs, conv.kernel_size, conv.dilation, conv.padding, conv.stride
            ).transpose(1, 2)
        else:
            patches = inputs.flatten(2).transpose(1, 2)
        return patches.reshape(-1, patches.shape[-1]), energy.flatten()

    def moments(self) -> InputMoments:
        """Turns the sums into moments in place; nothing can be added afterwards."""
        mean = self.sum.div_(self.weight)
        covariance = self.gram.div_(self.weight).addr_(mean, mean, alpha=-1)
        return InputMoments(mean.cpu(), covariance.cpu(), self.kernel_wide)


def collect_statistics(
    model: nn.Module,
    convolutions: Collection[str],
    batches: Iterable[Batch],
    loss_of: LossOf,
    seed: int = 0,
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

    Raises:
        ValueError: No batch.
        FloatingPointError: The loss is not finite.
    """
    modules = dict(model.named_modules())
    wide = _kernel_wide(modules, convolutions)
    found: dict[str, _Accumulator] = {}
    generator = torch.Generator().manual_seed(seed)
    handles = []

    def watch(name: str) -> Callable[..., None]:
        def forward(conv: nn.Conv2d, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            read = inputs[0].detach()

            def backward(gradient: Tensor) -> None:
                found[name].add(read, gradient, generator)

            output.register_hook(backward)  # type: ignore[no-untyped-call]

        return forward

    for name in convolutions:
        conv = modules[name]
        assert isinstance(conv, nn.Conv2d)
        found[name] = _Accumulator(conv, name in wide)
        handles.append(conv.register_forward_hook(watch(name)))
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    seen = 0
    try:
        for batch in batches:
            pictures = batch["img"].detach().requires_grad_(True)  # so that gradients flow at all
            loss = loss_of(model, {**batch, "img": pictures})
            if not torch.isfinite(loss):
                raise FloatingPointError("the loss is not finite on training images")
            loss.backward()  # type: ignore[no-untyped-call]
            del loss, pictures  # its graph holds every feature map; the next batch brings its own
            seen += 1
    finally:
        for handle in handles:
            handle.remove()
        for parameter in trainable:
            parameter.requires_grad_(True)
    if not seen:
        raise ValueError("got no images, expected at least one batch")
    return CalibrationStatistics(
        inputs={name: one.moments() for name, one in found.items()},
        output_fisher={name: (one.fisher / one.images).cpu() for name, one in found.items()},
    )


def _kernel_wide(modules: Mapping[str, Any], convolutions: Collection[str]) -> set[str]:
    """Convolutions whose covariance may span kernel positions: the smallest first, up to a limit.

    A 3x3 convolution of 640 channels would need 133 MB; a 1x1 one loses nothing by channels alone.
    """
    sizes = sorted(
        (modules[name].weight[0].numel() ** 2 * modules[name].weight.element_size(), name)
        for name in convolutions
    )
    chosen, total = set(), 0
    for size, name in sizes:
        total += size
        if total <= KERNEL_WIDE_BYTES:
            chosen.add(name)
    return chosen
