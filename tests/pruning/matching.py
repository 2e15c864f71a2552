"""Which dense channels a pruned model kept, read off its numbers alone.

Every batch-norm channel of a scrambled network has a running mean of its own, so a pruned conv's
output channels are found by looking its means up in the dense layer; where there is no batch norm
(a fused conv, the last 1x1 of a tower) the bias serves. Input columns are found the same way among
the weights of one kept filter, then the whole sub-tensor is compared bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Kept:
    """Dense indices of a pruned conv's output rows and input columns, in the pruned order."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]


def kept_channels(dense: nn.Module, pruned: nn.Module) -> dict[str, Kept]:
    """Conv name -> what it kept. Fails if any pruned weight is not an exact copy of a dense one."""
    kept: dict[str, Kept] = {}
    pruned_modules = dict(pruned.named_modules())
    dense_modules = dict(dense.named_modules())
    assert pruned_modules.keys() == dense_modules.keys()
    for name, old in dense_modules.items():
        if not isinstance(old, nn.Conv2d) or ".dfl." in name:
            continue
        new = pruned_modules[name]
        old_norm = dense_modules.get(f"{name.removesuffix('.conv')}.bn")
        if old_norm is None:
            rows = _positions(new.bias, old.bias, name)
        else:
            new_norm = pruned_modules[f"{name.removesuffix('.conv')}.bn"]
            rows = _positions(new_norm.running_mean, old_norm.running_mean, name)
            for key in ("weight", "bias", "running_mean", "running_var"):
                assert torch.equal(getattr(new_norm, key), getattr(old_norm, key)[list(rows)])
            assert new_norm.num_features == len(rows)
        columns = _positions(new.weight[0, :, 0, 0], old.weight[rows[0], :, 0, 0], name)
        assert torch.equal(new.weight, old.weight[list(rows)][:, list(columns)]), name
        assert (new.out_channels, new.in_channels) == (len(rows), len(columns)), name
        kept[name] = Kept(rows, columns)
    return kept


def _positions(values: torch.Tensor, among: torch.Tensor, name: str) -> tuple[int, ...]:
    """Where each value stands in `among`, whose values are all distinct."""
    where = {value: index for index, value in enumerate(among.tolist())}
    assert len(where) == len(among), (
        f"{name}: dense values are not distinct, nothing can be matched"
    )
    found = [where.get(value) for value in values.tolist()]
    assert None not in found, f"{name}: holds a value that is not in the dense layer"
    positions = tuple(index for index in found if index is not None)
    assert len(set(positions)) == len(positions), f"{name}: a channel was kept twice"
    return positions


def without_channels(dense: nn.Module, kept: dict[str, Kept]) -> None:
    """Silence, in place, every output channel not kept: zero its batch norm's weight and bias.

    Without a batch norm: its filter and bias.
    """
    modules = dict(dense.named_modules())
    with torch.no_grad():
        for name, channels in kept.items():
            last = modules.get(f"{name.removesuffix('.conv')}.bn", modules[name])
            gone = torch.ones(len(last.bias), dtype=torch.bool)
            gone[list(channels.rows)] = False
            last.weight[gone] = 0
            last.bias[gone] = 0
