"""Which indices exist in a model and how their channels are coupled: one module per family."""

from __future__ import annotations

from typing import Protocol

from torch import nn

from autoprune.pruning.groups import ChannelGroup


class ModelFamily(Protocol):
    """What the rest of autoprune asks of a model's architecture."""

    name: str

    def layer_indices(self, model: nn.Module) -> list[int]:
        """Every layer index, in order."""
        ...

    def widths(self, model: nn.Module) -> dict[int, tuple[int, ...]]:
        """Index -> reference widths: () without channels of its own, (n,), or Detect's pair."""
        ...

    def channel_groups(self, model: nn.Module) -> list[ChannelGroup]:
        """All prunable groups; every channel of a prunable output is in exactly one."""
        ...


def family_of(model: nn.Module) -> ModelFamily:
    """The family that knows this model.

    Raises:
        UnsupportedModel: No family does; the message names the first unknown layer.
    """
    from autoprune.families.yolov8 import YoloV8Family

    family = YoloV8Family()
    family.channel_groups(model)  # raises with the layer's name
    return family
