"""Class rows survive what users do to class names."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from ultralytics import YOLO

from autoprune.errors import ConfigError
from autoprune.evaluation.class_head import fit_classes, in_order_of

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
        ({0: "A", 1: "a", 2: "number plate"}, True, [0, 1, 2]),  # and no other has moved
        ({0: "x", 1: "y", 2: "z"}, True, [0, 1, 2]),
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


def test_a_model_is_put_in_the_order_of_the_data_where_names_have_moved() -> None:
    module = _model({0: "cat", 1: "dog", 2: "bird"})
    for renamed in (["cat", "dog", "bird"], ["Cat", "dog", "sparrow"], ["x", "y", "z"]):
        assert in_order_of(module, renamed, "data.yaml") is module
    ordered = in_order_of(module, ["bird", "cat", "dog"], "data.yaml")
    picture = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = copy.deepcopy(module).eval()(picture)[0]
        after = ordered.eval()(picture)[0]
    torch.testing.assert_close(after[:, :4], before[:, :4])
    torch.testing.assert_close(after[:, 4:], before[:, [6, 4, 5]])
    assert list(ordered.names.values()) == ["bird", "cat", "dog"]
    assert list(module.names.values()) == ["cat", "dog", "bird"]


def test_a_name_that_the_data_has_twice_moves_nothing() -> None:
    module = _model({0: "cat", 1: "dog", 2: "bird"})
    assert in_order_of(module, ["cat", "cat", "bird"], "data.yaml") is module
    module.names = {1: "cat", 2: "dog", 3: "bird"}
    assert in_order_of(module, ["cat", "dog", "bird"], "data.yaml") is module
    module.names = ["cat", "dog", "bird"]
    assert in_order_of(module, ["cat", "dog", "bird"], "data.yaml") is module
    assert in_order_of(module, ["dog", "cat", "bird"], "x").names[0] == "dog"


def test_names_that_moved_beside_one_that_is_unknown_are_refused() -> None:
    module = _model({0: "cat", 1: "dog", 2: "bird"})
    with pytest.raises(ConfigError, match=r"data\.yaml: names: got 'fish', expected the model's"):
        in_order_of(module, ["dog", "cat", "fish"], "data.yaml")
