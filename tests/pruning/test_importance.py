"""Which channels go: each criterion on cases whose answer is plain, and coupled channels as one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from autoprune.domain.plan import PruningPlan
from autoprune.errors import ConfigError
from autoprune.pruning.prune import Pruner
from tests.pruning.architectures import uniform
from tests.pruning.networks import WEIGHT_CRITERIA, stock

DEAD = 5
ONE_OF_SIXTEEN = 1.5 / 16  # int(16 * this) = 1


def plan_for(index: int, ratio: float) -> PruningPlan:
    """Only `index` of yolov8n loses channels."""
    return PruningPlan({**uniform("yolov8n", 0.0), index: ratio})


def marked(model: nn.Module) -> nn.Module:
    """Number every batch-norm channel in its running mean, to read the kept ones off later."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.arange(module.num_features))
    return model


def kept(conv: nn.Module) -> list[int]:
    """Dense indices of the channels an ultralytics Conv still has."""
    return [int(value) for value in conv.bn.running_mean]


@pytest.mark.parametrize(
    ("importance", "silence"),
    [
        ("l1", ("conv",)),
        ("l2", ("conv",)),
        ("bn_scale", ("bn",)),
        ("l2_bn", ("conv", "bn")),
    ],
)
@torch.no_grad()
def test_the_dead_channel_is_the_one_that_goes(importance: str, silence: tuple[str, ...]) -> None:
    model = marked(copy.deepcopy(stock("yolov8n")))
    for part in silence:
        getattr(model.model[0], part).weight[DEAD] = 0
    pruned = Pruner(model, importance).prune(plan_for(0, ONE_OF_SIXTEEN))
    assert kept(pruned.model[0]) == [channel for channel in range(16) if channel != DEAD]


@torch.no_grad()
def test_l1_and_l2_disagree_where_they_should() -> None:
    model = marked(copy.deepcopy(stock("yolov8n")))
    weight = model.model[0].conv.weight  # 27 values per filter
    weight.fill_(1.0)
    weight[3] = 0.0
    weight[3, 0, 0, 0] = 6.0  # l1 6 of 27: smallest; l2 6 > sqrt(27) = 5.2: largest
    weight[8] = 0.9  # l1 24.3; l2 4.7: smallest
    gone = {}
    for importance in ("l1", "l2"):
        pruned = Pruner(model, importance).prune(plan_for(0, ONE_OF_SIXTEEN))
        gone[importance] = set(range(16)) - set(kept(pruned.model[0]))
    assert gone == {"l1": {3}, "l2": {8}}


@pytest.mark.parametrize("importance", ["l1", "l2", "l2_bn"])
@torch.no_grad()
def test_a_residual_channel_is_judged_over_all_the_convs_that_share_it(importance: str) -> None:
    model = marked(copy.deepcopy(stock("yolov8n")))
    block = model.model[4]  # two residual bottlenecks on the second half of cv1, 32 channels wide
    sharers = [(block.cv1, 32), (block.m[0].cv2, 0), (block.m[1].cv2, 0)]
    for conv, offset in sharers:
        rows = conv.conv.weight[offset : offset + 32]
        rows.div_(rows.flatten(1).norm(dim=1)[:, None, None, None])
    weak_in_first, weak_in_last, weak_everywhere = 4, 9, 17
    for position, (conv, offset) in enumerate(sharers):
        rows = conv.conv.weight[offset : offset + 32]
        rows[weak_in_first] *= 0.5 if position == 0 else 10
        rows[weak_in_last] *= 0.5 if position == 2 else 10
        rows[weak_everywhere] *= 0.7
    pruned = Pruner(model, importance).prune(plan_for(4, 1.5 / 32)).model[4]
    expected = [channel for channel in range(32) if channel != weak_everywhere]
    assert [channel - 32 for channel in kept(pruned.cv1)[31:]] == expected
    assert kept(pruned.m[0].cv2) == kept(pruned.m[1].cv2) == expected


@torch.no_grad()
def test_the_two_halves_of_a_c2f_choose_their_channels_apart() -> None:
    model = marked(copy.deepcopy(stock("yolov8n")))
    block = model.model[12]  # no residual: the halves share nothing
    block.cv1.conv.weight[3] = 0
    block.cv1.conv.weight[64 + 40] = 0
    pruned = Pruner(model).prune(plan_for(12, 1.5 / 64)).model[12]
    assert kept(pruned.cv1) == [channel for channel in range(128) if channel not in (3, 104)]


@pytest.mark.parametrize("importance", WEIGHT_CRITERIA)
def test_every_criterion_keeps_the_same_counts(importance: str) -> None:
    pruned = Pruner(stock("yolov8n"), importance).prune(plan_for(6, 0.3))
    block = pruned.model[6]  # 128 -> 90; halves 64 -> 45
    assert tuple(block.cv1.conv.weight.shape[:2]) == (90, 128)
    assert tuple(block.cv2.conv.weight.shape[:2]) == (90, 180)


def test_an_unknown_criterion_is_refused_with_the_choices() -> None:
    with pytest.raises(ConfigError, match=r"loudest.*l2_bn"):
        Pruner(stock("yolov8n"), "loudest").prune(plan_for(0, 0.5))
