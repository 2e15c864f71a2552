"""Where a test finds the layers that were rewritten, and blocks that only look like one of them."""

from __future__ import annotations

import torch
from torch import nn

from autoprune.latency.rewrites.dfl import ProductDFL
from autoprune.latency.rewrites.halved import HalvedConv
from autoprune.latency.rewrites.late_upsample import LateUpsampleConv


def rewritten_layers(model: nn.Module) -> dict[str, int]:
    """How many layers of a model each rewrite made."""
    kinds = {"dfl": ProductDFL, "halved": HalvedConv, "late upsample": LateUpsampleConv}
    return {
        name: sum(isinstance(module, kind) for module in model.modules())
        for name, kind in kinds.items()
    }


class Wrapped(nn.Module):
    """Ultralytics' Conv with its batch norm folded."""

    def __init__(self, inputs: int, outputs: int, act: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1)
        self.bn = nn.Identity()
        self.act = act

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.act(self.bn(self.conv(image)))


class Block(nn.Module):
    """A C2 of a user's own: what it does with cv1's output is up to `read`."""

    def __init__(self, width: int, act: nn.Module, outputs: int | None = None) -> None:
        super().__init__()
        self.c = width
        self.cv1 = Wrapped(5, outputs or 2 * width, act)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        first, second = self.cv1(image).chunk(2, 1)
        return torch.cat((second, first.sigmoid()), 1)


class Adding(Block):
    """Reads cv1 whole."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.cv1(image) + 1


class InFour(Block):
    """Splits cv1 into quarters."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat(self.cv1(image).chunk(4, 1)[::-1], 1)
