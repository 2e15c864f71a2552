"""From a model to its channels; and the table of families: their search spaces and stock models."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autoprune.domain.table import Table
from autoprune.errors import AutopruneError
from autoprune.families.structure import structure_of

if TYPE_CHECKING:
    from torch import nn

    from autoprune.pruning.groups import ChannelMap

_TASKS = ("-seg", "-pose", "-obb")  # endings of stock models
ANY_OTHER = "yolo"  # the row of models that no other one names


@dataclass(frozen=True)
class Family:
    """Models that differ in size, and what is searched in them by default.

    Any model's channels are followed through its own forward pass; a family adds what that cannot
    tell.

    Attributes:
        name: As study.yaml and the report call it.
        summary: Which models it covers, in one line.
        space: The search space for models of the family: a file of `search_spaces/`, or a path.
        stock: Names of stock models that differ in size alone, ascending, one tuple per variant.
            ANY_OTHER has none.
    """

    name: str
    summary: str
    space: str | Path
    stock: tuple[tuple[str, ...], ...] = ()


def _sizes(name: str, scales: str, variants: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(f"{name}{scale}{variant}" for scale in scales) for variant in variants)


FAMILIES = Table(
    "autoprune.families",
    Family,
    [
        Family(
            name="yolov8",
            summary="YOLOv8 (n to x, P2, P6; detection, segmentation, pose, OBB).",
            space="yolov8.yaml",
            stock=_sizes("yolov8", "nsmlx", ("", "-p2", "-p6", *_TASKS)),
        ),
        Family(
            name="yolo11",
            summary="YOLO11 (n to x; detection, segmentation, pose, OBB).",
            space="yolo.yaml",
            stock=_sizes("yolo11", "nsmlx", ("", *_TASKS)),
        ),
        Family(
            name="yolo26",
            summary="YOLO26 (n to x, P2, P6; detection, segmentation, pose, OBB).",
            space="yolo.yaml",
            stock=_sizes("yolo26", "nsmlx", ("", "-p2", "-p6", *_TASKS)),
        ),
        Family(
            name=ANY_OTHER,
            summary="Every other YOLO, and models of one's own.",
            space="yolo.yaml",
        ),
    ],
)

REMEMBERED = 8  # models whose channels are known without following them again
_known: OrderedDict[str, tuple[ChannelMap, list[object]]] = OrderedDict()


def family_of(model: nn.Module) -> Family:
    """The family whose stock model this one is, by the name of its YAML; else the last one."""
    recipe = getattr(model, "yaml", None)
    name = str(recipe.get("yaml_file", "")) if isinstance(recipe, dict) else ""
    stem = Path(name).stem
    named = (row for row in FAMILIES if any(stem in sizes for sizes in row.stock))
    return next(named, FAMILIES.row(ANY_OTHER, "family"))


def channels_of(model: nn.Module) -> ChannelMap:
    """All channels of a model; a model of the same structure is followed once.

    Then it is also cut once, for a proof that it was followed rightly.

    Raises:
        UnsupportedModel: Its forward pass cannot be followed, none of its channels can go, or the
            proof fails.
    """
    from autoprune.families.tracing.channel_map import NO_OUTPUTS, channel_map, picture
    from autoprune.pruning.proof import prove_cut

    digest, objects = structure_of(model)
    if digest not in _known:
        channels = channel_map(model)
        prove_cut(model, channels, (2, *picture(model)), NO_OUTPUTS)
        _known[digest] = channels, objects
        while len(_known) > REMEMBERED:
            _known.popitem(last=False)
    _known.move_to_end(digest)
    return _known[digest][0]


def space_file(family: Family) -> Path:
    """The family's search space: in the installed package, in the source checkout, or its own."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package, package.parent):
        path = folder / "search_spaces" / family.space
        if path.exists():
            return path
    raise AutopruneError(f"search_spaces/{family.space} of family {family.name} is missing")
