"""The table of model families: which indices a model has and how its channels are coupled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autoprune.domain.table import Table, later
from autoprune.errors import AutopruneError, UnsupportedModel

if TYPE_CHECKING:
    from torch import nn

    from autoprune.pruning.groups import ChannelGroup


@dataclass(frozen=True)
class Family:
    """One family of detection models.

    Attributes:
        name: As study.yaml and the report call it.
        summary: Which models and layers it covers, in one line.
        widths: Model -> index -> reference widths: () without channels of its own, (n,), or the
            pair of Detect's towers.
        channel_groups: Model -> all prunable groups; every channel of a prunable output is in
            exactly one. It raises UnsupportedModel, with the layer's name, for a model that is not
            of this family.
        example: Makes a small model of the family, which the contract test prunes.
        space: The search space for models of the family: a file of `search_spaces/`, or a path.
        stock: Names of stock models that differ in size alone, ascending, one tuple per variant.
    """

    name: str
    summary: str
    widths: Callable[[nn.Module], dict[int, tuple[int, ...]]]
    channel_groups: Callable[[nn.Module], list[ChannelGroup]]
    example: Callable[[], nn.Module]
    space: str | Path
    stock: tuple[tuple[str, ...], ...] = ()


FAMILIES = Table(
    "autoprune.families",
    Family,
    [
        Family(
            name="yolov8",
            summary="YOLOv8 detection (n to x, P2, P6): Conv, C2f, C2, SPPF, Upsample, Concat and"
            " the anchor-free Detect.",
            widths=later("autoprune.families.yolov8:widths"),
            channel_groups=later("autoprune.families.yolov8:channel_groups"),
            example=later("autoprune.families.yolov8:example"),
            space="yolov8.yaml",
            stock=tuple(
                tuple(f"yolov8{scale}{variant}" for scale in "nsmlx")
                for variant in ("", "-p2", "-p6")
            ),
        )
    ],
)


def family_of(model: nn.Module) -> Family:
    """The first family that knows this model.

    Raises:
        UnsupportedModel: No family does; the message names the first unknown layer.
    """
    refusals: dict[str, UnsupportedModel] = {}
    for family in FAMILIES:
        try:
            family.channel_groups(model)
            return family
        except UnsupportedModel as error:
            refusals[family.name] = error
    if len(refusals) == 1:
        raise next(iter(refusals.values()))
    said = "; ".join(f"{name}: {error}" for name, error in refusals.items())
    raise UnsupportedModel(f"no family knows this model: {said}")


def space_file(family: Family) -> Path:
    """The family's search space: in the installed package, in the source checkout, or its own."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package, package.parent):
        path = folder / "search_spaces" / family.space
        if path.exists():
            return path
    raise AutopruneError(f"search_spaces/{family.space} of family {family.name} is missing")
