"""From a plan and scores to the channels that stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from autoprune.domain.plan import PruningPlan, as_ratios, kept_width
from autoprune.errors import PlanError
from autoprune.pruning.groups import ChannelGroup


def reference_widths(groups: Sequence[ChannelGroup], layers: int) -> dict[int, tuple[int, ...]]:
    """What each layer index's ratios count in: the widest group of each of its entries.

    Args:
        groups: All of the model.
        layers: How many indices it has.

    Returns:
        Index -> () where no channels are made that may go; one width; or those of a head's entries.
    """
    widest: dict[int, dict[int, int]] = {}
    for group in groups:
        entries = widest.setdefault(group.index, {})
        entries[group.entry] = max(group.width, entries.get(group.entry, 0))
    return {
        index: tuple(widest[index].get(entry, 1) for entry in range(max(widest[index]) + 1))
        if index in widest
        else ()
        for index in range(layers)
    }


def check_plan(
    plan: PruningPlan, widths: Mapping[int, tuple[int, ...]], where: str = "plan"
) -> None:
    """Refuse a plan that does not name every index of the model in the right form.

    Args:
        plan: The plan.
        widths: Index -> reference widths.
        where: Origin of the plan, for the message.

    Raises:
        PlanError: Missing or unknown index, or an entry of the wrong form.
    """
    last = max(widths)
    for index in plan.prune_ratios:
        if index not in widths:
            raise PlanError.of(where, "prune_ratios", index, f"layer indices 0 to {last} only")
    for index, reference in widths.items():
        expected = _FORMS[len(reference)]
        if index not in plan.prune_ratios:
            raise PlanError(
                f"{where}: prune_ratios.{index}: missing, expected {expected};"
                f" every index from 0 to {last} must be present"
            )
        entry = plan.prune_ratios[index]
        if len(as_ratios(entry)) != len(reference):
            shown = list(entry) if isinstance(entry, tuple) else entry
            raise PlanError.of(where, f"prune_ratios.{index}", shown, expected)


_FORMS = {
    0: "null (this layer has no channels of its own)",
    1: "one ratio in [0, 1)",
    2: "a pair [regression, classification] (Detect)",
    3: "three ratios [regression, classification, masks, keypoints or angle] (the head)",
}


def kept_counts(groups: Sequence[ChannelGroup], plan: PruningPlan) -> tuple[int, ...]:
    """How many channels of every group stay.

    All groups of a cluster keep the same multiple of their steps: the most that any of them would.
    """
    multiples: dict[str, int] = {}
    for group in groups:
        ratio = as_ratios(plan.prune_ratios[group.index])[group.entry]
        kept = kept_width(group.width, ratio, plan.round_to)
        multiple = -(-kept // group.step)
        cluster = group.cluster or group.name
        multiples[cluster] = max(multiple, multiples.get(cluster, 0))
    return tuple(group.step * multiples[group.cluster or group.name] for group in groups)


def select_channels(
    groups: Sequence[ChannelGroup], plan: PruningPlan, scores: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Keep the best-scored channels of each group, in their old order.

    Returns:
        Group name -> ascending int64 positions of the channels that stay. Equal scores keep the
        lower position, so that the same input always gives the same channels.
    """
    kept: dict[str, Tensor] = {}
    for group, count in zip(groups, kept_counts(groups, plan), strict=True):
        ranking = torch.argsort(scores[group.name], descending=True, stable=True)
        kept[group.name] = ranking[:count].sort().values
    return kept
