"""First-order Taylor scores of every convolution weight, from labelled training images."""

from __future__ import annotations

import torch
from torch import nn

from autoprune.errors import TrialFailed
from autoprune.evaluation.dataset import DataSummary
from autoprune.evaluation.inside.loss import detection_loss
from autoprune.evaluation.training_loss import (
    labelled_batches,
    loss_model,
    sample_images,
)


def collect_taylor(
    module: nn.Module,
    data: DataSummary,
    imgsz: int,
    images: int,
    seed: int = 0,
    device: str = "cpu",
) -> dict[str, torch.Tensor]:
    """Estimate how the loss would change without each weight: weight times gradient.

    Molchanov et al., "Importance Estimation for Neural Network Pruning", 2019; the sum over a
    channel's weights is its score, so the values keep their sign.

    Args:
        module: A DetectionModel; it stays unchanged.
        data: Its training images are used.
        imgsz: Side of the square pictures in pixels.
        images: How many training images, drawn by `seed`.
        seed: Same seed, same images.
        device: Where to compute.

    Returns:
        Module name of each convolution -> tensor of its weight's shape, on the CPU, summed over
        the batches.

    Raises:
        TrialFailed: ("nan") The loss is not finite.
    """
    model = loss_model(module, device)
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    convs = {name: part for name, part in model.named_modules() if isinstance(part, kinds)}
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for conv in convs.values():
        conv.weight.requires_grad_(True)
    scores = {name: torch.zeros_like(conv.weight, device="cpu") for name, conv in convs.items()}
    for batch in labelled_batches(data, sample_images(data, images, seed), imgsz, device):
        loss = detection_loss(model, batch)
        if not torch.isfinite(loss):
            raise TrialFailed("nan", "the loss is not finite on training images")
        model.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for name, conv in convs.items():
            if conv.weight.grad is not None:  # the fixed convolution that decodes boxes has none
                scores[name] += (conv.weight.detach() * conv.weight.grad).cpu()
    return scores
