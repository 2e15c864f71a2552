"""Pruner: one dense model, scored once, pruned by any number of plans."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from autoprune.domain.plan import PruningPlan, as_pair, kept_width
from autoprune.errors import ConfigError
from autoprune.families import family_of
from autoprune.pruning.compensation import Compensator
from autoprune.pruning.criteria import score_groups
from autoprune.pruning.importance import DEFAULT_IMPORTANCE
from autoprune.pruning.selection import check_plan, select_channels
from autoprune.pruning.statistics import CalibrationStatistics
from autoprune.pruning.surgery import cut_channels


class Pruner:
    """Holds a dense model's channel groups and scores.

    Args:
        model: An Ultralytics YOLOv8 detection model; never changed.
        importance: Name of the criterion that ranks channels.
        calibration: What the user's images told; it must hold the moments of every convolution's
            input for criterion obs and for compensation.
        compensated: Let what stays take over what was removed (see `compensation`).

    Raises:
        UnsupportedModel: The model holds a layer no family knows.
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
        self.family = family_of(model)
        self.widths = self.family.widths(model)
        self.groups = self.family.channel_groups(model)
        self.scores = score_groups(self.groups, model, importance, calibration)
        self._compensator: Compensator | None = None
        if compensated and calibration is not None:
            self._compensator = Compensator(self.groups, calibration, self.scores)

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which looks the family up itself: its row holds functions."""
        return {key: value for key, value in vars(self).items() if key != "family"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, family=family_of(state["model"]))

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
            cut_channels(pruned, self.groups, kept)
        return pruned

    def signature(self, plan: PruningPlan) -> tuple[int, ...]:
        """Kept channels of every group: equal signatures give identical pruned models."""
        return tuple(
            kept_width(
                group.width, as_pair(plan.prune_ratios[group.index])[group.entry], plan.round_to
            )
            for group in self.groups
        )

    def kept_widths(self, plan: PruningPlan) -> dict[int, tuple[int, ...]]:
        """Index -> reference width(s) after pruning, without pruning."""
        return {
            index: tuple(
                kept_width(width, ratio, plan.round_to)
                for width, ratio in zip(reference, as_pair(plan.prune_ratios[index]), strict=True)
            )
            for index, reference in self.widths.items()
        }


def uniform_plan(
    widths: dict[int, tuple[int, ...]], ratio: float, round_to: int = 1
) -> PruningPlan:
    """The same ratio at every index that has channels of its own.

    Args:
        widths: Index -> reference widths, as a family gives them.
        ratio: Fraction removed, in [0, 1).
        round_to: Kept widths are rounded up to a multiple of this.
    """
    if not 0 <= ratio < 1:
        raise ValueError(f"ratio must be in [0, 1), got {ratio}")
    ratios = {
        index: None if not width else ratio if len(width) == 1 else (ratio, ratio)
        for index, width in widths.items()
    }
    return PruningPlan(ratios, round_to=round_to)
