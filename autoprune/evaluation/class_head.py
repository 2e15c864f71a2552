"""Fit a detection head to another set of classes without touching any other width."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from autoprune.errors import ConfigError

CLASSES_KEPT = "classes_kept"  # attribute of a model: which classes of which it was made of


def fit_classes(model: nn.Module, names: Mapping[int, str], *, by_name: bool = True) -> None:
    """Make a DetectionModel predict `names`, in place.

    Only the last 1x1 convolution of each classification tower changes. Rows of classes that both
    sets know are kept; new rows start as Ultralytics starts a fresh head.

    Args:
        model: A DetectionModel; its Detect head, names and recipe are updated.
        names: Class id -> name, ids 0 .. n-1.
        by_name: Move rows to where the new set has the same name; when False, or when no shared
            name has moved, an equal number of classes leaves the rows as they are.
    """
    detect: Any = model.model[-1]  # type: ignore[index]
    sources = _source_rows(class_names(model), names, by_name)
    unchanged = sources == list(range(detect.nc))
    kept_as_is = len(names) == detect.nc and not any(row is not None for row in sources)
    if not unchanged and not kept_as_is:
        for number, layer in enumerate(class_layers(detect)):
            stride = float(detect.stride[number % detect.nl])
            prior = math.log(5 / len(names) / (640 / stride) ** 2)
            layer[-1] = _with_rows(layer[-1], sources, prior)
        detect.nc = len(names)
        detect.no = detect.nc + 4 * detect.reg_max
    described: Any = model
    if not unchanged and hasattr(model, CLASSES_KEPT):
        delattr(model, CLASSES_KEPT)  # they are others now
    described.names = dict(names)
    described.nc = detect.nc
    described.yaml = {**described.yaml, "nc": detect.nc}


def class_layers(head: Any) -> list[Any]:
    """Sequences of a head whose last convolution has one output per class.

    Of each branch, from the finest map to the coarsest; then, of YOLO26's masks, the one that helps
    in training alone.
    """
    towers = [tower for name in ("cv3", "one2one_cv3") for tower in getattr(head, name, None) or ()]
    semantic = getattr(getattr(head, "proto", None), "semseg", None)
    return towers if semantic is None else [*towers, semantic]


def class_names(model: nn.Module) -> dict[int, str]:
    """Class id -> name of a model, which may hold a list of them, or count them from 1."""
    names: Any = getattr(model, "names", {})
    if isinstance(names, Mapping):
        names = [names[key] for key in sorted(names)]
    return dict(enumerate(names))


def check_classes(model: nn.Module, classes: int, data: str, advice: str = "") -> None:
    """Refuse data whose number of classes is not the model's.

    Args:
        model: A DetectionModel.
        classes: Number of classes of the data.
        data: The data's name in the message.
        advice: The end of the message: what to do about it.

    Raises:
        ConfigError: Another number of classes.
    """
    layers: Any = model.model
    if layers[-1].nc != classes:
        expected = f"the model's {layers[-1].nc}{advice}"
        raise ConfigError.of(data, "names", f"{classes} classes", expected)


def in_order_of(model: nn.Module, names: Sequence[str], data: str) -> nn.Module:
    """The model with its classes in the data's order, where the names tell that they moved.

    The same rule as in training, `fit_classes`: classes are paired by their place, unless a name
    that both know stands elsewhere.

    Args:
        model: A DetectionModel with as many classes; unchanged.
        names: The data's class names, by class id.
        data: The data's name in the message.

    Returns:
        The model itself where nothing moved, else a copy that computes the same in another order.

    Raises:
        ConfigError: Some names moved, and another one the model does not know.
    """
    known = class_names(model)
    if len(known) != len(names):
        return model
    rows = class_rows(known, names)
    if rows == list(range(len(names))):
        return model
    if None in rows:
        expected = "the model's class names, in any order; train it on this data"
        raise ConfigError.of(data, "names", names[rows.index(None)], expected)
    ordered = copy.deepcopy(model)
    fit_classes(ordered, dict(enumerate(names)))
    return ordered


def class_rows(known: Mapping[int, str], names: Sequence[str]) -> list[int | None]:
    """For each class of data with as many as a model, the model's class id of it.

    Args:
        known: The model's class id -> name.
        names: The data's class names, by class id.

    Returns:
        Their own places where no name stands elsewhere; None for names that the model does not
        know beside others that moved.
    """
    rows = _source_rows(known, dict(enumerate(names)), by_name=True)
    return list(range(len(names))) if rows.count(None) == len(rows) else rows


def _source_rows(old: Mapping[int, str], new: Mapping[int, str], by_name: bool) -> list[int | None]:
    """For each new class, the row of the old head that predicted it."""
    placeholders = any(all(str(key) == str(name) for key, name in n.items()) for n in (old, new))
    if not by_name or placeholders:
        return [None] * len(new)
    if [str(old[row]) for row in sorted(old)] == [str(new[row]) for row in sorted(new)]:
        return list(range(len(new)))
    exact, alike = _rows_by_name(old, str), _rows_by_name(old, _plain)
    unique = _rows_by_name(new, _plain)
    once = _rows_by_name(new, str)
    rows = [
        exact[str(name)]
        if str(name) in exact and str(name) in once
        else (alike.get(_plain(name)) if _plain(name) in unique else None)
        for name in (new[index] for index in range(len(new)))
    ]
    if len(old) == len(new) and all(row in (None, place) for place, row in enumerate(rows)):
        return list(range(len(new)))  # some are renamed, none has moved
    return rows


def _rows_by_name(names: Mapping[int, str], shown: Callable[[object], str]) -> dict[str, int]:
    """Name -> row, without names that several rows have: `A` and `a` may be two classes."""
    counts = Counter(shown(name) for name in names.values())
    return {shown(name): row for row, name in names.items() if counts[shown(name)] == 1}


def _plain(name: object) -> str:
    return str(name).strip().lower()


def _with_rows(conv: nn.Conv2d, sources: list[int | None], prior: float) -> nn.Conv2d:
    fresh = nn.Conv2d(conv.in_channels, len(sources), 1).to(conv.weight)
    assert fresh.bias is not None
    assert conv.bias is not None
    with torch.no_grad():
        fresh.bias.fill_(prior)
        for row, source in enumerate(sources):
            if source is not None:
                fresh.weight[row] = conv.weight[source]
                fresh.bias[row] = conv.bias[source]
    return fresh
