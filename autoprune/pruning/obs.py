"""Greedy structured Optimal Brain Surgeon: in which order a group's channels go, at what cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from autoprune.pruning.groups import ChannelGroup, output_first
from autoprune.pruning.statistics import CalibrationStatistics, InputMoments, ridge_for

RIDGE = 0.01
"""Added to every covariance, as a fraction of its mean diagonal."""


@dataclass
class _Reader:
    """One convolution that reads the group, as the greedy loop sees it.

    `inverse` is the group's part of the inverse covariance, `gram` that of W^T W, with W the
    weight's columns that read the group; both (width * b, width * b). b columns belong to each
    channel.
    """

    inverse: Tensor
    gram: Tensor
    columns: int

    def costs(self) -> Tensor:
        """Loss increase if each channel went now, shape (width,); removed ones are meaningless."""
        if self.columns == 1:
            return self.gram.diagonal() / self.inverse.diagonal()
        explained: Tensor = torch.linalg.solve(self._own(self.inverse), self._own(self.gram))
        return explained.diagonal(dim1=1, dim2=2).sum(dim=1)

    def _own(self, square: Tensor) -> Tensor:
        """The blocks on the diagonal, (width, b, b)."""
        width = square.shape[0] // self.columns
        blocks = square.view(width, self.columns, width, self.columns)
        return blocks.diagonal(dim1=0, dim2=2).permute(2, 0, 1)

    def remove(self, channel: int) -> None:
        """Let the other columns take over what they can; the channel's become zero.

        W becomes `W - W_c C` with `C = (H_cc)^-1 H_c`, so its gram `G - C^T G_c - G_c^T C +
        C^T G_cc C`, written as two products with `V = G_c - G_cc C / 2`.
        """
        at = slice(channel * self.columns, (channel + 1) * self.columns)
        row, weights = self.inverse[at].clone(), self.gram[at].clone()
        own = row[:, at]
        correction = row / own if self.columns == 1 else torch.linalg.solve(own, row)
        self.inverse.addmm_(row.T, correction, alpha=-1)
        half = weights - weights[:, at] @ correction / 2
        self.gram.addmm_(correction.T, half, alpha=-1).addmm_(half.T, correction, alpha=-1)
        for square in (self.inverse, self.gram):
            square[:, at] = 0.0
            square[at, :] = 0.0
        self.inverse[at, at] = torch.eye(self.columns, dtype=self.inverse.dtype)


def removal_costs(
    group: ChannelGroup,
    modules: Mapping[str, nn.Module],
    statistics: CalibrationStatistics,
    inverses: dict[str, Tensor],
) -> Tensor:
    """Total cost at which each channel goes: the cheapest first, the others making up for it.

    Removing channel c from a reader with weight W and inverse input covariance H costs
    `sum over outputs o of F_o W_oc (H_cc)^-1 W_oc`, with F the Fisher information of the output;
    a channel that occurs several times in a reader (SPPF) or at several kernel positions is a
    block. Costs of all readers add up, since all are estimates of the same loss. After each
    removal the weights' gram and the inverse are updated (Hassibi and Stork 1993; blocks as in
    Kurtic et al. 2022, arXiv 2203.07259).

    Args:
        group: Its other readers' channels are taken to stay.
        modules: The dense model's modules by name.
        statistics: Moments of every reader's input.
        inverses: Cache of inverse covariances by convolution; filled here.

    Returns:
        Float64, shape (group.width,): the sum of all costs up to and including the channel's own
        removal. Sorted, it is the group's sensitivity: entry r - 1 is the cost of removing r.
        Zeros for a group that is read in training alone.
    """
    readers = list(_readers(group, modules, statistics, inverses))
    alive = torch.ones(group.width, dtype=torch.bool)
    total = torch.zeros(group.width, dtype=torch.float64)
    if not readers:
        return total
    spent = 0.0
    for _ in range(group.width):
        costs = torch.stack([reader.costs() for reader in readers]).sum(dim=0)
        costs[~alive] = torch.inf
        channel = int(costs.argmin())
        cost = float(costs[channel])
        spent += 0.0 if cost < 0 else cost  # not max: it would make 0 of nan
        total[channel] = spent
        alive[channel] = False
        for reader in readers:
            reader.remove(channel)
    return total


def _readers(
    group: ChannelGroup,
    modules: Mapping[str, nn.Module],
    statistics: CalibrationStatistics,
    inverses: dict[str, Tensor],
) -> Iterator[_Reader]:
    offsets: dict[str, list[int]] = {}
    for consumer in group.consumers:
        if consumer.module in statistics.inputs:
            offsets.setdefault(consumer.module, []).append(consumer.offset)
    for name, starts in offsets.items():
        conv = modules[name]
        assert isinstance(conv, (nn.Conv2d, nn.ConvTranspose2d))
        if name not in inverses:
            inverses[name] = _inverse(statistics.inputs[name], conv)
        channels = torch.stack(
            [torch.tensor(starts) + channel for channel in range(group.width)]
        ).flatten()
        weight = output_first(conv, conv.weight.detach()).to("cpu", torch.float64)
        fisher = statistics.output_fisher[name].to(torch.float64)
        scaled = weight * fisher.sqrt()[:, None, None, None]
        rows = scaled[:, channels].permute(0, 2, 3, 1).reshape(-1, len(channels))
        inverse = inverses[name][channels][:, channels]
        yield _Reader(inverse, rows.T @ rows, len(starts))


def _inverse(moments: InputMoments, conv: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    """Inverse covariance of the input channels, averaged over kernel positions."""
    covariance = moments.covariance.to(torch.float64)
    if moments.kernel_wide:
        positions = conv.kernel_size[0] * conv.kernel_size[1]
        spread = covariance.view(conv.in_channels, positions, conv.in_channels, positions)
        covariance = spread.diagonal(dim1=1, dim2=3).mean(dim=-1)
    size = len(covariance)
    ridge = ridge_for(moments, RIDGE)
    inverse: Tensor = torch.linalg.inv(covariance + ridge * torch.eye(size, dtype=torch.float64))
    return inverse
