"""The stock models below a given one."""

from __future__ import annotations

import copy

import torch
from torch import nn
from ultralytics.nn.modules import Conv
from ultralytics.nn.tasks import DetectionModel

from autoprune.families.siblings import smaller_siblings
from tests.pruning.networks import stock


def _params(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_sibling_has_the_same_classes_and_is_smaller() -> None:
    model = stock("yolov8s", classes=3)
    ((name, sibling),) = smaller_siblings(model)
    assert name == "yolov8n"
    assert len(sibling.names) == 3
    assert _params(sibling) == _params(DetectionModel("yolov8n.yaml", nc=3, verbose=False))


def test_the_sibling_has_the_models_activation() -> None:
    model = copy.deepcopy(stock("yolov8s"))
    for part in model.modules():
        if isinstance(part, Conv):
            part.act = nn.ReLU()
    ((_, sibling),) = smaller_siblings(model)
    acts = [part.act for part in sibling.modules() if isinstance(part, Conv)]
    assert {type(act) for act in acts} == {nn.ReLU}
    assert type(Conv(3, 4).act) is nn.SiLU, "Ultralytics' own default stays"


def test_slopes_by_channel_become_as_many_as_the_siblings_channels() -> None:
    model = copy.deepcopy(stock("yolov8s"))
    for part in model.modules():
        if isinstance(part, Conv):
            part.act = nn.PReLU(part.conv.out_channels)
    ((_, sibling),) = smaller_siblings(model)
    assert sibling.eval()(torch.rand(1, 3, 64, 64))[0].isfinite().all()


def test_variants_keep_their_extra_level() -> None:
    ((name, sibling),) = smaller_siblings(stock("yolov8s-p2", classes=2))
    assert name == "yolov8n-p2"
    assert len(sibling.stride) == 4


def test_the_next_below_comes_first_then_the_smallest() -> None:
    large = stock("yolov8n")  # says it is another one: building a large one takes long
    recipe = dict(large.yaml, yaml_file="yolov8l.yaml")
    named = nn.Module()
    named.yaml, named.names = recipe, {0: "a"}
    assert [name for name, _ in smaller_siblings(named)] == ["yolov8m", "yolov8n"]


def test_the_smallest_and_models_of_ones_own_have_none() -> None:
    assert list(smaller_siblings(stock("yolov8n"))) == []
    own = nn.Module()
    own.yaml = {"yaml_file": "my/yolov8s.yaml"}
    assert list(smaller_siblings(own)) == []
    assert list(smaller_siblings(nn.Module())) == []
