"""The smaller stock models of the same family, as an alternative to pruning."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from torch import nn
from ultralytics.nn.modules import Conv

from autoprune.evaluation.inside.stock import stock_model
from autoprune.families import FAMILIES


def smaller_siblings(model: nn.Module, most: int = 2) -> Iterator[tuple[str, nn.Module]]:
    """Build the stock models below this one: its classes, keypoints, activation; random weights.

    Args:
        model: An Ultralytics model that says which stock YAML it comes from.
        most: How many at most: the next smaller one first, then the smallest.

    Yields:
        Its name ("yolov8n") and the module; nothing for the smallest and for models of one's own.
    """
    recipe: dict[str, Any] = getattr(model, "yaml", None) or {}
    name = str(recipe.get("yaml_file", "")).removesuffix(".yaml")
    variants = (variant for family in FAMILIES for variant in family.stock)
    known = next((variant for variant in variants if name in variant), ())
    below = known[: known.index(name)][::-1] if known else ()
    chosen = dict.fromkeys((*below[:1], *below[-1:], *below[1:]))
    classes, channels = len(getattr(model, "names", ())), int(recipe.get("channels", 3))
    for sibling in list(chosen)[:most]:
        built = stock_model(f"{sibling}.yaml", channels, classes, recipe.get("kpt_shape"))
        _take_activation(built, model)
        _take_branch(built, model)
        yield sibling, built


def _take_branch(model: nn.Module, like: nn.Module) -> None:
    """Deploy the same branch of an end-to-end head."""
    layers: Any = model.model
    if getattr(layers[-1], "one2one_cv2", None) is not None:
        layers[-1].end2end = any(getattr(part, "end2end", False) for part in like.modules())


def _take_activation(model: nn.Module, like: nn.Module) -> None:
    """Give every block the activation of the other model's first one."""
    first: Any = next((part for part in like.modules() if isinstance(part, Conv)), None)
    if first is None:
        return
    for part in model.modules():
        if isinstance(part, Conv):
            block: Any = part
            block.act = copy.deepcopy(first.act)
            if isinstance(first.act, nn.PReLU) and first.act.num_parameters > 1:
                block.act = nn.PReLU(block.conv.out_channels)
