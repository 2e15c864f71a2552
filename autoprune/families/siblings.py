"""The smaller stock models of the same family, as an alternative to pruning."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from torch import nn

from autoprune.evaluation.inside.stock import stock_model

_STOCK = re.compile(r"(?P<stem>yolov8)(?P<scale>[nsmlx])(?P<variant>(-p2|-p6)?)\.yaml")
_SCALES = "nsmlx"  # ascending in size


def smaller_siblings(model: nn.Module, most: int = 2) -> Iterator[tuple[str, nn.Module]]:
    """Build the stock models below this one, with its number of classes and random weights.

    Args:
        model: An Ultralytics detection model that says which stock YAML it comes from.
        most: How many at most: the next smaller one first, then the smallest.

    Yields:
        Its name ("yolov8n") and the module; nothing for the smallest and for models of one's own.
    """
    recipe: dict[str, Any] = getattr(model, "yaml", None) or {}
    found = _STOCK.fullmatch(str(recipe.get("yaml_file", "")))
    if found is None:
        return
    below = _SCALES[: _SCALES.index(found["scale"])][::-1]
    chosen = dict.fromkeys((*below[:1], *below[-1:], *below[1:]))
    classes, channels = len(getattr(model, "names", ())), int(recipe.get("channels", 3))
    for scale in list(chosen)[:most]:
        name = f"{found['stem']}{scale}{found['variant']}"
        yield name, stock_model(f"{name}.yaml", channels, classes)
