"""Class rows survive what users do to class names."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from ultralytics import YOLO

from autoprune.evaluation.class_head import fit_classes

NAMES = {0: "A", 1: "a", 2: "plate"}


def _model(names: dict[int, str]) -> Any:
    module: Any = YOLO("yolov8n.yaml").model
    fit_classes(module, {index: f"class {index}" for index in range(len(names))})
    module.names = dict(names)
    return module


def _rows(module: Any) -> torch.Tensor:
    rows: torch.Tensor = module.model[-1].cv3[0][-1].weight.detach()
    return rows


@pytest.mark.parametrize(
    ("new", "by_name", "sources"),
    [
        (NAMES, True, [0, 1, 2]),  # the same names, two alike but for their case
        ({0: "a", 1: "A", 2: "Plate "}, True, [1, 0, 2]),
        ({0: "plate", 1: "A", 2: "car"}, True, [2, 0, None]),
        ({0: "A", 1: "a", 2: "number plate"}, False, [0, 1, 2]),  # renamed: the same by position
    ],
)
def test_rows_follow_their_names(
    new: dict[int, str], by_name: bool, sources: list[int | None]
) -> None:
    module = _model(NAMES)
    before = _rows(copy.deepcopy(module))
    fit_classes(module, new, by_name=by_name)
    assert module.names == new
    for row, source in enumerate(sources):
        same = [torch.equal(_rows(module)[row], old) for old in before]
        assert same == [source == index for index in range(3)]
