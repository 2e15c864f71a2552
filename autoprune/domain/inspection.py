"""Inspection: what can be pruned in a model, index by index, what stays, and why."""

from __future__ import annotations

from dataclasses import dataclass

from autoprune.domain.plan import PruningPlan


@dataclass(frozen=True)
class InspectedLayer:
    """One layer index.

    Attributes:
        index: Position in `model.model`.
        kind: Class of the layer.
        widths: What its ratios count in; empty where a plan says null.
        free: Channels that a plan can remove.
        frozen: Channels that it makes and that stay; a head's outputs are among them.
        reasons: Why, the most channels first.
    """

    index: int
    kind: str
    widths: tuple[int, ...]
    free: int
    frozen: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Inspection:
    """What can be pruned in a model.

    Attributes:
        family: Its name in the table of families.
        layers: One for each index.
        plan: A plan that removes nothing, to fill in.
    """

    family: str
    layers: tuple[InspectedLayer, ...]
    plan: PruningPlan
