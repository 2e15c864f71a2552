"""Numbers beyond half precision are brought within it without changing what a model computes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from ultralytics import YOLO

from autoprune.evaluation.half_precision import fits_half, rescaled_to_half


def spoiled(model: Any, how: str) -> Any:
    """A copy that computes the same with numbers that 16 bits cannot hold."""
    model = copy.deepcopy(model)
    block = model.model[2].m[0].cv1
    conv, norm = block.conv, block.bn
    with torch.no_grad():
        if how == "variance":
            spread = norm.running_var + norm.eps
            norm.running_var[0] = 1e8
            norm.weight[0] *= ((1e8 + norm.eps) / spread[0]).sqrt()
        elif how == "large weights":
            for tensor in (conv.weight, norm.running_mean):
                tensor *= 1e7
            norm.weight /= 1e7
        elif how == "small weights":
            for tensor in (conv.weight, norm.running_mean):
                tensor *= 1e-9
            norm.weight *= 1e9
        elif how == "denormal weights":
            conv.weight[0] = 1e-40
        elif how == "shift":
            norm.bias[0] = 1e5
    return model


@pytest.fixture
def picture() -> torch.Tensor:
    return torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def _says(model: nn.Module, picture: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return copy.deepcopy(model).float().eval()(picture)[0]


@pytest.mark.parametrize("how", ["variance", "large weights", "small weights", "denormal weights"])
def test_a_channel_beyond_half_is_rescaled_and_computes_the_same(
    dense: YOLO, picture: torch.Tensor, how: str
) -> None:
    model = spoiled(dense.model, how)
    assert not fits_half(model)
    before = _says(model, picture)
    rescaled = rescaled_to_half(model)
    assert fits_half(rescaled)
    torch.testing.assert_close(_says(rescaled, picture), before, rtol=1e-4, atol=1e-3)
    halved = copy.deepcopy(rescaled).half()
    after = _says(halved, picture)
    torch.testing.assert_close(after[:, :4], before[:, :4], rtol=0.02, atol=0.3)
    torch.testing.assert_close(after[:, 4:], before[:, 4:], rtol=0.05, atol=1e-4)
    assert not fits_half(model), "the model given is not changed"


def test_what_has_no_norm_behind_it_is_not_rescaled(dense: YOLO, picture: torch.Tensor) -> None:
    model = spoiled(dense.model, "shift")
    assert not fits_half(rescaled_to_half(model))
    torch.testing.assert_close(_says(rescaled_to_half(model), picture), _says(model, picture))


def test_a_model_that_fits_is_left_alone(dense: YOLO) -> None:
    assert rescaled_to_half(dense.model) is dense.model
    rounded = copy.deepcopy(dense.model).half().float()
    with torch.no_grad():  # numbers that halves hold exactly, however small
        rounded.model[0].conv.weight[0] = 6e-8
        rounded.model[0].conv.weight.copy_(rounded.model[0].conv.weight.half().float())
    assert fits_half(rounded)
