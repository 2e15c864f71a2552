"""From a model to its Inspection: what can be pruned, index by index."""

from __future__ import annotations

from typing import Any

from torch import nn

from autoprune.domain.inspection import InspectedLayer, Inspection
from autoprune.families import channels_of, family_of
from autoprune.pruning.prune import uniform_plan, widths_of


def inspect_model(model: nn.Module) -> Inspection:
    """Look at every layer index of a model.

    Raises:
        UnsupportedModel: None of its channels can be removed.
    """
    module: Any = model
    channels, widths = channels_of(model), widths_of(model)
    found = []
    for index, layer in enumerate(module.model):
        by_reason: dict[str, int] = {}
        for part in (part for part in channels.frozen if part.index == index):
            by_reason[part.reasons[0]] = by_reason.get(part.reasons[0], 0) + part.width
        found.append(
            InspectedLayer(
                index=index,
                kind=type(layer).__name__,
                widths=widths[index],
                free=sum(group.width for group in channels.groups if group.index == index),
                frozen=sum(by_reason.values()),
                reasons=tuple(sorted(by_reason, key=lambda why: -by_reason[why])),
            )
        )
    return Inspection(family_of(model).name, tuple(found), uniform_plan(widths, 0.0))
