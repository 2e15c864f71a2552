"""What the criteria compute: one score per channel of a group, low scores go first."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from autoprune.errors import ConfigError
from autoprune.pruning.groups import AxisSlice, ChannelGroup, norm_after
from autoprune.pruning.importance import criterion_named
from autoprune.pruning.obs import removal_costs
from autoprune.pruning.statistics import CalibrationStatistics


@dataclass(frozen=True)
class ScoringContext:
    """Everything a criterion may look at besides the group itself."""

    modules: Mapping[str, nn.Module]
    calibration: CalibrationStatistics | None = None
    inverses: dict[str, Tensor] = field(default_factory=dict)  # cache of criterion obs


def l1(group: ChannelGroup, context: ScoringContext) -> Tensor:
    """Sum of absolute filter weights (Li et al. 2017, arXiv 1608.08710)."""
    return _summed(group, lambda producer: _rows(group, producer, context).abs().sum(dim=1))


def l2(group: ChannelGroup, context: ScoringContext) -> Tensor:
    """Euclidean norm of all filters that write the channel."""
    return _summed(group, lambda producer: _rows(group, producer, context).square().sum(1)).sqrt()


def bn_scale(group: ChannelGroup, context: ScoringContext) -> Tensor:
    """Absolute batch-norm weight (Liu et al. 2017, arXiv 1708.06519); 1 where there is none.

    Raises:
        ConfigError: The model is fused: it has no batch norm left.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in context.modules.values()):
        raise ConfigError("importance bn_scale: got a fused model, expected one with batch norm")
    return _summed(group, lambda producer: _bn_gain(group, producer, context, folded=False).abs())


def l2_bn(group: ChannelGroup, context: ScoringContext) -> Tensor:
    """Euclidean norm of the filters as they act once batch norm is folded into them."""

    def energy(producer: AxisSlice) -> Tensor:
        norm = _rows(group, producer, context).square().sum(dim=1)
        return norm * _bn_gain(group, producer, context, folded=True).square()

    return _summed(group, energy).sqrt()


def taylor(group: ChannelGroup, context: ScoringContext) -> Tensor:
    """First-order change of the loss when the channel goes (Molchanov et al. 2019, 1906.10771)."""
    assert context.calibration is not None
    gradients = context.calibration.weight_gradients

    def change(producer: AxisSlice) -> Tensor:
        product = gradients[producer.module].movedim(producer.axis, 0)
        rows = product[producer.offset : producer.offset + group.width]
        return rows.detach().to("cpu", torch.float64).flatten(1).sum(dim=1)

    return _summed(group, change).square()


def obs(group: ChannelGroup, context: ScoringContext) -> Tensor:
    """Second-order cost of removal, the cheapest first and the others making up for it."""
    assert context.calibration is not None
    return removal_costs(group, context.modules, context.calibration, context.inverses)


def random(group: ChannelGroup, context: ScoringContext) -> Tensor:
    """Reproducible noise: the floor any other criterion must beat."""
    generator = torch.Generator().manual_seed(zlib.crc32(group.name.encode()))
    return torch.rand(group.width, generator=generator, dtype=torch.float64)


def score_groups(
    groups: Sequence[ChannelGroup],
    model: nn.Module,
    importance: str,
    calibration: CalibrationStatistics | None = None,
) -> dict[str, Tensor]:
    """Score every group once.

    Returns:
        Group name -> float64 scores, shape (width,), on the CPU.

    Raises:
        ConfigError: No such criterion, no images where it needs them, or scores that are not
            finite.
    """
    criterion = criterion_named(importance)
    if criterion.needs_images and calibration is None:
        raise ConfigError(f"importance {importance} needs images: give calibration (API) or --data")
    context = ScoringContext(dict(model.named_modules()), calibration)
    scores = {group.name: criterion.score(group, context) for group in groups}
    for name, values in scores.items():
        if not torch.isfinite(values).all():
            raise ConfigError.of("model", f"channels {name}", "nan or inf", "finite weights")
    return scores


def _summed(group: ChannelGroup, of_producer: Callable[[AxisSlice], Tensor]) -> Tensor:
    """Coupled channels are scored together: contributions of all producers add up."""
    return torch.stack([of_producer(producer) for producer in group.producers]).sum(dim=0)


def _rows(group: ChannelGroup, producer: AxisSlice, context: ScoringContext) -> Tensor:
    weight: Tensor = getattr(context.modules[producer.module], producer.tensor)
    rows = weight.movedim(producer.axis, 0)[producer.offset : producer.offset + group.width]
    return rows.detach().to("cpu", torch.float64).flatten(1)


def _bn_gain(
    group: ChannelGroup, producer: AxisSlice, context: ScoringContext, *, folded: bool
) -> Tensor:
    """Batch-norm weight of the rows, over the running deviation when folded; ones if fused."""
    norm = norm_after(producer, context.modules)
    if norm is None:
        return torch.ones(group.width, dtype=torch.float64)
    rows = slice(producer.offset, producer.offset + group.width)
    gain = torch.ones(group.width, dtype=torch.float64)
    if norm.affine:
        gain = norm.weight[rows].detach().to("cpu", torch.float64)
    if not folded or norm.running_var is None:
        return gain
    variance = norm.running_var[rows].detach().to("cpu", torch.float64)
    return gain / (variance + norm.eps).sqrt()
