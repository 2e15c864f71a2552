"""Which family a model belongs to; and that a model's channels are followed once."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from types import MethodType
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from autoprune import families
from autoprune.errors import AutopruneError, UnsupportedModel
from autoprune.families import ANY_OTHER, FAMILIES, channels_of, family_of, space_file
from autoprune.families.tracing import channel_map as module
from tests.pruning.networks import stock

YOLOV8 = FAMILIES.row("yolov8", "test")


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({"yaml_file": "yolov8s.yaml"}, "yolov8"),
        ({"yaml_file": "/somewhere/yolov8n-p6.yaml"}, "yolov8"),
        ({"yaml_file": "yolo26x.yaml"}, "yolo26"),
        ({"yaml_file": "yolo11n.yaml"}, "yolo11"),
        ({"yaml_file": "mine.yaml"}, ANY_OTHER),
        ({}, ANY_OTHER),
        (None, ANY_OTHER),
    ],
)
def test_a_models_family_is_named_by_its_yaml(recipe: Any, expected: str) -> None:
    model = nn.Identity()
    vars(model)["yaml"] = recipe
    assert family_of(model).name == expected


def test_a_search_space_is_a_shipped_one_or_a_path(tmp_path: Path) -> None:
    assert space_file(YOLOV8).name == "yolov8.yaml"
    own = tmp_path / "own.yaml"
    with pytest.raises(AutopruneError, match="missing"):
        space_file(replace(YOLOV8, space=own))
    own.write_text("default: {step: 8}")
    assert space_file(replace(YOLOV8, space=own)) == own


def test_a_structure_is_followed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    families._known.clear()
    followed: list[nn.Module] = []
    real = module.channel_map
    monkeypatch.setattr(module, "channel_map", lambda model: followed.append(model) or real(model))
    model: Any = stock("yolov8n")
    first = channels_of(model)
    assert channels_of(copy.deepcopy(model)) is first  # other numbers would not matter either
    other = copy.deepcopy(model)
    other.model[2].cv2.act = nn.Softmax(1)
    assert channels_of(other) != first
    narrower = copy.deepcopy(model)
    narrower.model[0].conv = nn.Conv2d(1, 16, 3, 2, 1, bias=False)
    narrower.yaml = {**narrower.yaml, "channels": 1}
    channels_of(narrower)
    assert len(followed) == 3
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, 64, 64))  # the head remembers a size
    assert channels_of(model) is first


def _softmax(x: torch.Tensor) -> torch.Tensor:
    return x.softmax(1)


class _Calls(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.function(x)
        return out


def test_structures_that_differ_in_a_function_a_hook_or_a_forward_are_told_apart() -> None:
    def with_act(function: Any) -> Any:
        model: Any = copy.deepcopy(stock("yolov8n"))
        model.model[2].cv2.act = _Calls(function)
        return model

    def frozen(model: Any) -> bool:
        return any(part.name == "2.cv2" for part in channels_of(model).frozen)

    assert not frozen(with_act(functional.relu))
    assert frozen(with_act(_softmax))
    hooked: Any = copy.deepcopy(stock("yolov8n"))
    assert not frozen(hooked)
    hooked.model[2].cv2.register_forward_hook(lambda module, given, out: out.softmax(1))
    assert frozen(hooked)
    patched: Any = copy.deepcopy(stock("yolov8n"))
    block = patched.model[2].cv2
    block.forward = MethodType(lambda self, x: _softmax(type(self).forward(self, x)), block)
    assert frozen(patched)
    block.forward = lambda x: _softmax(type(block).forward(block, x))  # a copy runs the original
    with pytest.raises(UnsupportedModel, match=r"^model\.2\.cv2: its forward pass cannot be fol"):
        channels_of(patched)


def test_what_is_no_yolo_is_refused_in_one_line() -> None:
    for model in (nn.Linear(1, 1), nn.Sequential(nn.Conv2d(3, 3, 3))):
        with pytest.raises(UnsupportedModel, match=f"got {type(model).__name__}, expected") as said:
            channels_of(model)
        assert "\n" not in str(said.value)
