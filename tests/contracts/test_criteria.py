"""What every importance criterion promises."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from torch import nn

from autoprune.errors import ConfigError
from autoprune.families import channels_of
from autoprune.pruning.criteria import score_groups
from autoprune.pruning.importance import CRITERIA
from autoprune.pruning.statistics import CalibrationStatistics, InputMoments
from tests.pruning.networks import scrambled

pytestmark = pytest.mark.parametrize("name", CRITERIA.names())


@cache
def statistics() -> CalibrationStatistics:
    """Invented, of the right shapes: inputs, Fisher information and gradients of every conv."""
    dice = torch.Generator().manual_seed(0)
    inputs, fisher, gradients = {}, {}, {}
    for name, module in scrambled("yolov8n").named_modules():
        if isinstance(module, nn.Conv2d):
            rows = torch.randn(2 * module.in_channels, module.in_channels, generator=dice)
            inputs[name] = InputMoments(rows.mean(dim=0), rows.T @ rows / len(rows), False)
            fisher[name] = torch.rand(module.out_channels, generator=dice)
            gradients[name] = torch.randn(module.weight.shape, generator=dice)
    return CalibrationStatistics(gradients, inputs, fisher)


@cache
def stock_scores(name: str) -> dict[str, torch.Tensor]:
    """Of the shared model."""
    return scores(name, scrambled("yolov8n"))


def scores(name: str, model: nn.Module) -> dict[str, torch.Tensor]:
    groups = channels_of(model).groups
    return score_groups(groups, model, name, statistics())


def test_every_channel_of_every_group_gets_one_finite_score(name: str) -> None:
    model = scrambled("yolov8n")
    found = stock_scores(name)
    for group in channels_of(model).groups:
        assert found[group.name].shape == (group.width,)
        assert found[group.name].dtype == torch.float64
        assert found[group.name].device.type == "cpu"
        assert torch.isfinite(found[group.name]).all()
        assert len(found[group.name].unique()) > 1


def test_the_same_model_gets_the_same_scores_and_is_left_as_it_was(name: str) -> None:
    model = copy.deepcopy(scrambled("yolov8n"))
    before = copy.deepcopy(model.state_dict())
    first, second = stock_scores(name), scores(name, model)
    assert all(torch.equal(first[group], second[group]) for group in first)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_criterion_that_needs_images_is_refused_without_and_no_other(name: str) -> None:
    model = scrambled("yolov8n")
    groups = channels_of(model).groups
    if CRITERIA.row(name, "--importance").needs_images:
        with pytest.raises(ConfigError, match=f"importance {name} needs images"):
            score_groups(groups, model, name)
    else:
        score_groups(groups, model, name)


def test_a_criterion_that_looks_at_gradients_says_so(name: str) -> None:
    model = scrambled("yolov8n")
    groups = channels_of(model).groups
    images_alone = CalibrationStatistics(
        inputs=statistics().inputs, output_fisher=statistics().output_fisher
    )
    if CRITERIA.row(name, "--importance").needs == "gradients":
        with pytest.raises(KeyError):
            score_groups(groups, model, name, images_alone)
    else:
        score_groups(groups, model, name, images_alone)


def test_scores_are_costs(name: str) -> None:
    assert all(bool((values >= 0).all()) for values in stock_scores(name).values())
