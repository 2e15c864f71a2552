"""Closed-form compensation: what stays takes over, by least squares, what was removed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from autoprune.pruning.groups import ChannelGroup
from autoprune.pruning.statistics import CalibrationStatistics, InputMoments, ridge_for

RIDGE = 0.01
"""Added to the kept channels' covariance, as a fraction of the input's mean diagonal."""


def compensate(
    model: nn.Module,
    groups: Sequence[ChannelGroup],
    kept: Mapping[str, Tensor],
    statistics: CalibrationStatistics,
    ridge: float = RIDGE,
) -> None:
    """Correct every convolution for the input channels it is about to lose, in place.

    With mean mu and covariance S of a convolution's input, removed columns R and kept K, the best
    linear guess of what is lost is `S_RK S_KK^-1`: W_K becomes `W_K + W_R S_RK (S_KK + ridge)^-1`.
    The constant part goes into the bias or, before a batch norm, into its running mean
    (least-squares reconstruction as in He, Zhang and Sun 2017, arXiv 1707.06168).

    Args:
        model: A copy of the dense model, before any channel is cut.
        groups: All channel groups of the model.
        kept: Group name -> ascending positions that stay.
        statistics: Moments of every convolution's input in the dense model.
        ridge: Fraction of the mean diagonal added to the kept covariance.
    """
    modules = dict(model.named_modules())
    lost: dict[str, list[Tensor]] = defaultdict(list)
    for group in groups:
        gone = torch.ones(group.width, dtype=torch.bool)
        gone[kept[group.name]] = False
        if gone.any():
            positions = gone.nonzero().flatten()
            for consumer in group.consumers:
                lost[consumer.module].append(consumer.offset + positions)
    for name, parts in lost.items():
        conv = modules[name]
        assert isinstance(conv, nn.Conv2d)
        norm = modules.get(f"{name.removesuffix('.conv')}.bn")
        removed = torch.zeros(conv.in_channels, dtype=torch.bool)
        removed[torch.cat(parts)] = True
        constant = _take_over(conv, removed, statistics.inputs[name], ridge)
        _shift(conv, norm if isinstance(norm, nn.BatchNorm2d) else None, constant)


def _take_over(conv: nn.Conv2d, removed: Tensor, moments: InputMoments, ridge: float) -> Tensor:
    """Fold the removed columns into the kept ones; returns the constant lost, (out_channels,)."""
    weight = conv.weight.detach().to("cpu", torch.float64, copy=True)
    positions = conv.kernel_size[0] * conv.kernel_size[1]
    flat = weight.flatten(1)  # (outputs, channels * positions)
    if not moments.kernel_wide:  # the same correction at every kernel position
        flat = weight.permute(0, 2, 3, 1).reshape(-1, conv.in_channels)
    gone = removed.repeat_interleave(positions) if moments.kernel_wide else removed
    stays, goes = (~gone).nonzero().flatten(), gone.nonzero().flatten()
    mean = moments.mean.to(torch.float64)
    before = flat @ mean
    flat[:, stays] += _explained(flat[:, goes], moments, stays, goes, ridge)
    flat[:, goes] = 0.0
    constant = before - flat @ mean
    if not moments.kernel_wide:
        constant = constant.view(len(weight), positions).sum(dim=1)
        flat = flat.view(len(weight), *conv.kernel_size, conv.in_channels).permute(0, 3, 1, 2)
    with torch.no_grad():
        conv.weight.copy_(flat.reshape(conv.weight.shape))
    return constant


def _explained(
    lost: Tensor, moments: InputMoments, stays: Tensor, goes: Tensor, ridge: float
) -> Tensor:
    """Weights on the columns `stays` that best replace the weights `lost` on the columns `goes`."""
    covariance = moments.covariance
    columns = covariance[stays].to(torch.float64)
    kept, shared = columns[:, stays], columns[:, goes]
    kept.diagonal().add_(ridge_for(moments, ridge))
    factor = torch.linalg.cholesky(kept)
    if len(goes) <= len(lost):  # fewer right-hand sides to solve for
        return lost @ torch.cholesky_solve(shared, factor).T
    return torch.cholesky_solve(shared @ lost.T, factor).T


def _shift(conv: nn.Conv2d, norm: nn.BatchNorm2d | None, constant: Tensor) -> None:
    with torch.no_grad():
        if norm is not None and norm.running_mean is not None:
            norm.running_mean.sub_(constant.to(norm.running_mean))
        elif conv.bias is not None:
            conv.bias.add_(constant.to(conv.bias))
