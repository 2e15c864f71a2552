"""Closed-form compensation: what stays takes over, by least squares, what was removed."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from autoprune.pruning.groups import ChannelGroup, norm_after, output_first
from autoprune.pruning.statistics import CalibrationStatistics, InputMoments, ridge_for

RIDGE = 0.01
"""Added to the kept channels' covariance, as a fraction of the input's mean diagonal."""
_Convolution = nn.Conv2d | nn.ConvTranspose2d
_BLOCK = 256  # columns
REMEMBERED_BYTES = 250_000_000  # of corrected weights; those not used for longest go first


class Compensator:
    """Corrects convolutions for the input channels they are about to lose, plan after plan.

    With mean mu and covariance S of a convolution's input, removed columns R and kept K, the best
    linear guess of what is lost is `S_RK S_KK^-1`: W_K becomes `W_K + W_R S_RK (S_KK + ridge)^-1`.
    The constant part goes into the bias or, before a batch norm, into its running mean
    (least-squares reconstruction as in He, Zhang and Sun 2017, arXiv 1707.06168).

    Channels of one group always go in the same order. With the columns in that order one Cholesky
    factor L of the whole covariance serves every plan: its leading block is the factor of S_KK,
    and `S_RK S_KK^-1 = L_RK L_KK^-1`. Factors take as much memory as the covariances.

    Args:
        groups: All channel groups of the dense model.
        statistics: Moments of every convolution's input in the dense model.
        scores: Group name -> one score per channel: plans keep the highest. Without them, or for
            other channels, every set of columns is factored anew.
        ridge: Fraction of the mean diagonal added to the kept covariance.
    """

    def __init__(
        self,
        groups: Sequence[ChannelGroup],
        statistics: CalibrationStatistics,
        scores: Mapping[str, Tensor] | None = None,
        ridge: float = RIDGE,
    ) -> None:
        self.groups, self.statistics, self.ridge = groups, statistics, ridge
        self._orders = _orders(groups, scores or {})
        self._factors: dict[str, Tensor] = {}
        self._remembered: OrderedDict[tuple[str, bytes], tuple[Tensor, Tensor]] = OrderedDict()
        self._bytes = 0

    def compensate(self, model: nn.Module, kept: Mapping[str, Tensor]) -> None:
        """Correct every convolution of a model, in place, before any channel is cut.

        Args:
            model: A copy of the dense model, always of the same one.
            kept: Group name -> ascending positions that stay.
        """
        modules = dict(model.named_modules())
        lost: dict[str, list[Tensor]] = defaultdict(list)
        parts_of = {part.module: part for group in self.groups for part in group.consumers}
        for group in self.groups:
            gone = torch.ones(group.width, dtype=torch.bool)
            gone[kept[group.name]] = False
            if gone.any():
                positions = gone.nonzero().flatten()
                for consumer in group.consumers:
                    lost[consumer.module].append(consumer.offset + positions)
        for name, parts in lost.items():
            if name not in self.statistics.inputs:
                continue  # it runs in training alone, and learns again there
            conv = modules[name]
            assert isinstance(conv, (nn.Conv2d, nn.ConvTranspose2d))
            removed = torch.zeros(conv.in_channels, dtype=torch.bool)
            removed[torch.cat(parts)] = True
            weight, constant = self._corrected(name, conv, removed)
            with torch.no_grad():
                columns = output_first(conv, conv.weight)
                columns.zero_()
                columns[:, (~removed).to(columns.device)] = weight.to(columns)
            _shift(conv, norm_after(parts_of[name], modules), constant)

    def _corrected(self, name: str, conv: _Convolution, removed: Tensor) -> tuple[Tensor, Tensor]:
        """Weights on the kept input channels, and the constant lost, (out_channels,)."""
        key = name, removed.numpy().tobytes()
        found = self._remembered.get(key)
        if found is not None:
            self._remembered.move_to_end(key)
            return found
        found = self._take_over(name, conv, removed)
        self._remembered[key] = found
        self._bytes += found[0].nbytes
        while self._bytes > REMEMBERED_BYTES and len(self._remembered) > 1:
            self._bytes -= self._remembered.popitem(last=False)[1][0].nbytes
        return found

    def _take_over(self, name: str, conv: _Convolution, removed: Tensor) -> tuple[Tensor, Tensor]:
        moments = self.statistics.inputs[name]
        weight = output_first(conv, conv.weight.detach()).to("cpu", torch.float64)
        positions = conv.kernel_size[0] * conv.kernel_size[1]
        columns = positions if moments.kernel_wide else 1
        flat = weight.flatten(1)  # (outputs, channels * positions)
        if not moments.kernel_wide:  # the same correction at every kernel position
            flat = weight.permute(0, 2, 3, 1).reshape(-1, conv.in_channels)
        mean = moments.mean.to(torch.float64)
        gone = removed.repeat_interleave(columns)
        stays, goes = (~gone).nonzero().flatten(), gone.nonzero().flatten()
        order = self._orders.get(name)
        count = conv.in_channels - int(removed.sum())
        if order is not None and not removed[order[:count]].any():
            factor = self._factor(name, order, columns)
            explained = _by_factor(flat, factor, _spread(order, columns), len(stays))
        else:
            explained = _explained(flat[:, goes], moments, stays, goes, self.ridge)
        after = flat[:, stays] + explained
        constant = flat @ mean - after @ mean[stays]
        if moments.kernel_wide:
            after = after.view(len(weight), -1, *conv.kernel_size)
        else:
            constant = constant.view(len(weight), positions).sum(dim=1)
            after = after.view(len(weight), *conv.kernel_size, -1).permute(0, 3, 1, 2)
        return after.to(conv.weight.dtype).contiguous(), constant

    def _factor(self, name: str, order: Tensor, columns: int) -> Tensor:
        """Lower Cholesky factor of a ridged covariance, its columns in the order they stay."""
        if name not in self._factors:
            moments, at = self.statistics.inputs[name], _spread(order, columns)
            covariance = moments.covariance[at][:, at].to(torch.float64)
            covariance.diagonal().add_(ridge_for(moments, self.ridge))
            factor = torch.linalg.cholesky(covariance, out=covariance)
            self._factors[name] = factor.to(moments.covariance.dtype)
        return self._factors[name]


def compensate(
    model: nn.Module,
    groups: Sequence[ChannelGroup],
    kept: Mapping[str, Tensor],
    statistics: CalibrationStatistics,
    ridge: float = RIDGE,
) -> None:
    """Compensate a single time; see `Compensator`, which remembers."""
    Compensator(groups, statistics, ridge=ridge).compensate(model, kept)


def _orders(groups: Sequence[ChannelGroup], scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convolutions that read a single group -> their input channels, the last to go first."""
    reading: dict[str, list[tuple[ChannelGroup, int]]] = defaultdict(list)
    for group in groups:
        for consumer in group.consumers:
            reading[consumer.module].append((group, consumer.offset))
    orders = {}
    for name, parts in reading.items():
        group = parts[0][0]
        if group.name in scores and all(other is group for other, _ in parts):
            ranking = torch.argsort(scores[group.name], descending=True, stable=True)
            offsets = torch.tensor([offset for _, offset in parts])
            orders[name] = (ranking[:, None] + offsets).flatten()
    return orders


def _spread(channels: Tensor, columns: int) -> Tensor:
    """Columns of a covariance that belong to channels, `columns` for each."""
    return (channels[:, None] * columns + torch.arange(columns)).flatten()


def _by_factor(flat: Tensor, factor: Tensor, order: Tensor, count: int) -> Tensor:
    """What `_explained` gives, by the factor of all columns in `order`, whose first `count` stay.

    In blocks: for large factors that takes a third of the time of solving at once.
    """
    found = flat[:, order[count:]].to(factor.dtype) @ factor[count:, :count]
    for stop in range(count, 0, -_BLOCK):  # X L_KK = found, solved from the last columns on
        start = max(0, stop - _BLOCK)
        own = factor[start:stop, start:stop]
        part = torch.linalg.solve_triangular(own, found[:, start:stop], upper=False, left=False)
        found[:, start:stop] = part
        found[:, :start].addmm_(part, factor[start:stop, :start], alpha=-1)
    return found[:, order[:count].argsort()].to(flat.dtype)  # both name the same columns


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


def _shift(conv: _Convolution, norm: nn.BatchNorm2d | None, constant: Tensor) -> None:
    with torch.no_grad():
        if norm is not None and norm.running_mean is not None:
            norm.running_mean.sub_(constant.to(norm.running_mean))
        elif conv.bias is not None:
            conv.bias.add_(constant.to(conv.bias))
