"""Pruner: one dense model, scored once, pruned by any number of plans."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from autoprune.domain.plan import PruningPlan, as_entry
from autoprune.errors import ConfigError
from autoprune.families import channels_of
from autoprune.pruning.compensation import Compensator
from autoprune.pruning.criteria import score_groups
from autoprune.pruning.importance import DEFAULT_IMPORTANCE
from autoprune.pruning.selection import (
    check_plan,
    kept_counts,
    reference_widths,
    select_channels,
)
from autoprune.pruning.statistics import CalibrationStatistics
from autoprune.pruning.surgery import cut_channels


class Pruner:
    """Holds a dense model's channel groups and scores.

    Args:
        model: An Ultralytics YOLO; never changed.
        importance: Name of the criterion that ranks channels.
        calibration: What the user's images told; it must hold the moments of every convolution's
            input for criterion obs and for compensation.
        compensated: Let what stays take over what was removed (see `compensation`).

    Raises:
        UnsupportedModel: None of the model's channels can be removed.
        ConfigError: Unknown criterion, or calibration is needed and not given.
    """

    def __init__(
        self,
        model: nn.Module,
        importance: str = DEFAULT_IMPORTANCE,
        calibration: CalibrationStatistics | None = None,
        compensated: bool = False,
    ) -> None:
        if compensated and (calibration is None or not calibration.inputs):
            raise ConfigError("compensate needs images: give calibration (API) or --data")
        self.model = model
        self.importance = importance
        self.compensated = compensated
        self.calibration = calibration
        self.channels = channels_of(model)
        self.groups = self.channels.groups
        self.widths = widths_of(model)
        self.scores = score_groups(self.groups, model, importance, calibration)
        self._compensator: Compensator | None = None
        if compensated and calibration is not None:
            self._compensator = Compensator(self.groups, calibration, self.scores)

    def prune(self, plan: PruningPlan, where: str = "plan") -> nn.Module:
        """Return a pruned deep copy, on the same device and in the same dtype and mode.

        A plan that removes nothing gives a bit-identical copy.

        Raises:
            PlanError: The plan does not fit the model; `where` names it in the message.
        """
        check_plan(plan, self.widths, where)
        pruned = copy.deepcopy(self.model)
        kept = select_channels(self.groups, plan, self.scores)
        if any(len(kept[group.name]) < group.width for group in self.groups):
            if self._compensator is not None:
                self._compensator.compensate(pruned, kept)
            cut_channels(pruned, self.channels, kept)
        return pruned

    def signature(self, plan: PruningPlan) -> tuple[int, ...]:
        """Kept channels of every group: equal signatures give identical pruned models."""
        return kept_counts(self.groups, plan)

    def kept_widths(self, plan: PruningPlan) -> dict[int, tuple[int, ...]]:
        """Index -> reference width(s) after pruning, without pruning."""
        kept: dict[tuple[int, int], tuple[int, int]] = {}
        for group, count in zip(self.groups, self.signature(plan), strict=True):
            entry = group.index, group.entry
            kept[entry] = max((group.width, count), kept.get(entry, (0, 0)))
        return {
            index: tuple(kept.get((index, entry), (1, 1))[1] for entry in range(len(reference)))
            for index, reference in self.widths.items()
        }


def widths_of(model: nn.Module) -> dict[int, tuple[int, ...]]:
    """Layer index -> reference widths of a model: what a plan's ratios count in.

    Raises:
        UnsupportedModel: None of its channels can be removed.
    """
    layers: Any = model.model
    return reference_widths(channels_of(model).groups, len(layers))


def uniform_plan(
    widths: dict[int, tuple[int, ...]], ratio: float, round_to: int = 1
) -> PruningPlan:
    """The same ratio at every index that has channels of its own.

    Args:
        widths: Index -> reference widths, as `widths_of` gives them.
        ratio: Fraction removed, in [0, 1).
        round_to: Kept widths are rounded up to a multiple of this.
    """
    if not 0 <= ratio < 1:
        raise ValueError(f"ratio must be in [0, 1), got {ratio}")
    ratios = {index: as_entry((ratio,) * len(width)) for index, width in widths.items()}
    return PruningPlan(ratios, round_to=round_to)
