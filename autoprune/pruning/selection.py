"""From a plan and scores to the channels that stay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from autoprune.domain.plan import PruningPlan, as_pair, kept_width
from autoprune.errors import PlanError
from autoprune.pruning.groups import ChannelGroup


def check_plan(
    plan: PruningPlan, widths: Mapping[int, tuple[int, ...]], where: str = "plan"
) -> None:
    """Refuse a plan that does not name every index of the model in the right form.

    Args:
        plan: The plan.
        widths: Index -> reference widths, as a family gives them.
        where: Origin of the plan, for the message.

    Raises:
        PlanError: Missing or unknown index, or an entry of the wrong form.
    """
    forms = {
        0: "null (this layer has no channels of its own)",
        1: "one ratio in [0, 1)",
        2: "a pair [regression, classification] (Detect)",
    }
    last = max(widths)
    for index in plan.prune_ratios:
        if index not in widths:
            raise PlanError.of(where, "prune_ratios", index, f"layer indices 0 to {last} only")
    for index, reference in widths.items():
        expected = forms[len(reference)]
        if index not in plan.prune_ratios:
            raise PlanError(
                f"{where}: prune_ratios.{index}: missing, expected {expected};"
                f" every index from 0 to {last} must be present"
            )
        entry = plan.prune_ratios[index]
        if len(as_pair(entry)) != len(reference):
            shown = list(entry) if isinstance(entry, tuple) else entry
            raise PlanError.of(where, f"prune_ratios.{index}", shown, expected)


def select_channels(
    groups: Iterable[ChannelGroup], plan: PruningPlan, scores: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Keep the best-scored channels of each group, in their old order.

    Returns:
        Group name -> ascending int64 positions of the channels that stay. Equal scores keep the
        lower position, so that the same input always gives the same channels.
    """
    kept: dict[str, Tensor] = {}
    for group in groups:
        ratio = as_pair(plan.prune_ratios[group.index])[group.entry]
        count = kept_width(group.width, ratio, plan.round_to)
        ranking = torch.argsort(scores[group.name], descending=True, stable=True)
        kept[group.name] = ranking[:count].sort().values
    return kept
