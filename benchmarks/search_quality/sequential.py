"""Compensation in sequence: every convolution is fitted again to what it reads once pruned.

The engine compensates all layers at once, from moments of the dense model's inputs. Here the
pruned network runs over the pictures, layer after layer; each convolution is fitted by weighted
least squares, with its compensated weights as prior, from what it reads now to what the dense one
wrote, before the next layer reads it. Not part of the engine: see docs/how-it-works.md.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoprune.domain.plan import PruningPlan
from autoprune.evaluation.dataset import DataSummary
from autoprune.evaluation.images import load_batch
from autoprune.evaluation.inside.loss import detection_loss
from autoprune.evaluation.training_loss import labelled_batches, loss_model
from autoprune.pruning.compensation import compensate
from autoprune.pruning.prune import Pruner
from autoprune.pruning.selection import select_channels
from autoprune.pruning.statistics import EVEN_SHARE, GRADIENT_POWER
from autoprune.pruning.surgery import cut_channels

IMAGES = 128  # the more, the better it fits; all their feature maps are held at once
PLACES = 400  # of each picture and convolution
RIDGE = 0.1  # towards the compensated weights, as a share of the mean diagonal


@dataclass
class _Written:
    """What one convolution of the dense model wrote, at the same places of every picture."""

    places: Tensor  # flat positions, (places,)
    outputs: list[Tensor] = field(default_factory=list)  # (pictures, places, channels)
    energy: list[Tensor] = field(default_factory=list)  # of the loss gradient, (pictures, places)

    def rows(self) -> tuple[Tensor, Tensor]:
        """Outputs, (rows, channels), and what each row counts, (rows, 1), summing to 1."""
        counts = torch.cat(self.energy).flatten().pow(GRADIENT_POWER)
        counts = counts / counts.mean() * (1 - EVEN_SHARE) + EVEN_SHARE
        return torch.cat(self.outputs).flatten(0, 1), (counts / counts.sum())[:, None]


class SequentialPruner:
    """Prunes as `Pruner` with compensation does, then fits layer after layer.

    Args:
        pruner: With calibration; its dense model is the teacher.
        data: Gives the classes.
        images: Labelled training images; all their feature maps of a layer are held at once.
        imgsz: Side of the square pictures in pixels.
    """

    def __init__(self, pruner: Pruner, data: DataSummary, images: list[Path], imgsz: int) -> None:
        assert pruner.calibration is not None
        self.pruner = pruner
        self.pictures = load_batch(images, imgsz)
        self.written: dict[str, _Written] = {}
        self._watch(list(pruner.calibration.inputs), data, images, imgsz)

    def prune(self, plan: PruningPlan) -> nn.Module:
        """A pruned copy of the dense model."""
        kept = select_channels(self.pruner.groups, plan, self.pruner.scores)
        model = copy.deepcopy(self.pruner.model)
        assert self.pruner.calibration is not None
        compensate(model, self.pruner.groups, kept, self.pruner.calibration)
        modules = dict(model.named_modules())
        fit = [
            modules[name].register_forward_pre_hook(self._fitting(name, modules))
            for name in self.written
        ]
        with torch.no_grad():
            model.eval()(self.pictures)
        for handle in fit:
            handle.remove()
        cut_channels(model, self.pruner.channels, kept)
        return model

    def _watch(self, names: list[str], data: DataSummary, images: list[Path], imgsz: int) -> None:
        model = loss_model(self.pruner.model, "cpu").requires_grad_(False)
        generator = torch.Generator().manual_seed(0)

        def watch(name: str) -> Callable[..., None]:
            def forward(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
                if name not in self.written:
                    places = torch.randperm(output[0, 0].numel(), generator=generator)[:PLACES]
                    self.written[name] = _Written(places)
                written = self.written[name]
                at = written.places
                written.outputs.append(output.detach().flatten(2)[:, :, at].transpose(1, 2))

                def backward(gradient: Tensor) -> None:
                    written.energy.append(gradient.square().sum(dim=1).flatten(1)[:, at])

                output.register_hook(backward)  # type: ignore[no-untyped-call]

            return forward

        for name, module in model.named_modules():
            if name in names:
                module.register_forward_hook(watch(name))
        for batch in labelled_batches(data, images, imgsz, "cpu"):
            pictures = batch["img"].requires_grad_(True)
            loss = detection_loss(model, {**batch, "img": pictures})
            loss.backward()  # type: ignore[no-untyped-call]

    def _fitting(self, name: str, modules: dict[str, nn.Module]) -> Callable[..., None]:
        norms = f"{name.removesuffix('.conv')}.bn"
        dense = dict(self.pruner.model.named_modules()).get(norms)

        def fit(conv: nn.Conv2d, inputs: tuple[Tensor, ...]) -> None:
            stays = (conv.weight.abs().sum(dim=(0, 2, 3)) > 0).nonzero().flatten()
            outputs, counts = self.written[name].rows()
            read = torch.cat([self._patches(conv, one, stays, name) for one in inputs[0]])
            mean, aim = (read * counts).sum(dim=0), (outputs * counts).sum(dim=0)
            centred = read - mean
            weighted = centred * counts
            covariance = (weighted.T @ centred).double()
            shared = ((outputs - aim).T @ weighted).double()
            before = conv.weight[:, stays].flatten(1).double()
            ridged = covariance.clone()
            ridged.diagonal().add_(RIDGE * covariance.diagonal().mean())
            change = torch.linalg.solve(ridged, (shared - before @ covariance).T).T
            after = (before + change).float()
            conv.weight[:, stays] = after.view(len(after), len(stays), *conv.kernel_size)
            constant = aim - after @ mean
            norm = modules.get(norms)
            if isinstance(norm, nn.BatchNorm2d) and isinstance(dense, nn.BatchNorm2d):
                assert norm.running_mean is not None
                assert dense.running_mean is not None
                norm.running_mean.copy_(dense.running_mean - constant)
            elif conv.bias is not None:
                conv.bias.copy_(constant)

        return fit

    def _patches(self, conv: nn.Conv2d, picture: Tensor, stays: Tensor, name: str) -> Tensor:
        assert not isinstance(conv.padding, str)
        patches = functional.unfold(
            picture[None, stays], conv.kernel_size, conv.dilation, conv.padding, conv.stride
        )[0]
        return patches[:, self.written[name].places].T
