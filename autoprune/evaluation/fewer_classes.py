"""Fewer classes: a model that predicts some of its classes alone, and data with no others."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from autoprune.errors import ConfigError
from autoprune.evaluation.class_head import CLASSES_KEPT, class_layers, class_names, class_rows


@dataclass(frozen=True)
class KeptClasses:
    """Some of a model's classes.

    Attributes:
        ids: Of the whole model, ascending.
        names: The whole model's class names, by class id.
    """

    ids: tuple[int, ...]
    names: tuple[str, ...]

    def in_data(self, names: Sequence[str], data: str) -> tuple[int, ...] | None:
        """Class ids by which a data set calls these classes, in their order.

        Args:
            names: The data's class names, by class id: all of the model's or these alone.
            data: The data's name in the message.

        Returns:
            The ids; None where the data have these classes alone.

        Raises:
            ConfigError: The data have other classes.
        """
        if len(names) == len(self.ids):
            return None
        if len(names) != len(self.names):
            expected = f"the model's {len(self.names)}, or the {len(self.ids)} that are kept"
            raise ConfigError.of(data, "names", f"{len(names)} classes", expected)
        rows = class_rows(dict(enumerate(self.names)), names)
        missing = [self.names[kept] for kept in self.ids if kept not in rows]
        if missing:
            raise ConfigError.of(data, "names", list(names)[:5], f"{missing[0]!r} among them")
        return tuple(rows.index(kept) for kept in self.ids)

    def are_among(self, names: Sequence[str]) -> bool:
        """Whether data with as many classes as the whole model have these by their names."""
        return len(names) == len(self.names) and {self.names[each] for each in self.ids} <= {*names}


def classes_of(model: nn.Module) -> KeptClasses | None:
    """What a model was made of by `with_classes`, which its files say too; None: all are there."""
    noted = getattr(model, CLASSES_KEPT, None)  # of a file that may be anybody's
    ids, names = (noted.get(key) if isinstance(noted, dict) else None for key in ("ids", "names"))
    if not isinstance(ids, list) or not isinstance(names, list):
        return None
    places = range(len(names))
    whole = all(type(each) is int and each in places for each in ids)
    if not whole or len(ids) != len(class_names(model)):
        return None
    return KeptClasses(tuple(ids), tuple(map(str, names)))


def kept_classes(model: nn.Module, wanted: Sequence[int | str]) -> KeptClasses:
    """Which of a model's classes are meant.

    Args:
        model: A model of any task.
        wanted: Class ids, or names.

    Raises:
        ConfigError: One that the model does not have, one twice, or none.
    """
    names = tuple(str(name) for name in class_names(model).values())
    ids = []
    for one in wanted:
        place = names.index(one) if isinstance(one, str) and one in names else one
        if not isinstance(place, int) or not 0 <= place < len(names):
            shown = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
            expected = f"class ids from 0 to {len(names) - 1}, or names ({shown})"
            raise ConfigError.of("--classes", "", one, expected)
        ids.append(place)
    if not ids or len(set(ids)) != len(ids):
        raise ConfigError.of("--classes", "", list(wanted), "each class once, at least one")
    return KeptClasses(tuple(sorted(ids)), names)


def with_classes(model: nn.Module, kept: KeptClasses) -> nn.Module:
    """A copy of a model that predicts these classes alone; what it says of them is unchanged.

    Args:
        model: A model of any task, one that has lost classes before too.
        kept: Of this model.
    """
    before = classes_of(model) or KeptClasses(tuple(range(len(kept.names))), kept.names)
    small: Any = copy.deepcopy(model)
    head = small.model[-1]
    rows = torch.tensor(kept.ids)
    for layer in class_layers(head):
        layer[-1] = _with_outputs(layer[-1], rows)
    head.nc = len(kept.ids)
    head.no = head.nc + 4 * head.reg_max
    small.names = {place: kept.names[row] for place, row in enumerate(kept.ids)}
    small.nc = head.nc
    small.yaml = {**small.yaml, "nc": head.nc}
    small.criterion = None
    ids = [before.ids[row] for row in kept.ids]
    setattr(small, CLASSES_KEPT, {"ids": ids, "names": list(before.names)})
    points = getattr(small, "kpt_names", None)
    if isinstance(points, dict):  # by class id
        small.kpt_names = {
            place: points[row] for place, row in enumerate(kept.ids) if row in points
        }
    return small  # type: ignore[no-any-return]


def _with_outputs(conv: nn.Conv2d, rows: torch.Tensor) -> nn.Conv2d:
    less = copy.deepcopy(conv)
    less.out_channels = len(rows)
    for name in ("weight", "bias"):
        own = getattr(conv, name)
        if own is not None:
            part = own.detach()[rows.to(own.device)].clone()
            setattr(less, name, nn.Parameter(part, requires_grad=own.requires_grad))
    return less
