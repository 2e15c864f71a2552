"""What every model family promises."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from torch import nn

from autoprune.domain.plan import PruningPlan
from autoprune.domain.space import SearchSpace
from autoprune.errors import UnsupportedModel
from autoprune.families import FAMILIES, family_of, space_file
from autoprune.pruning.prune import Pruner, uniform_plan
from autoprune.pruning.selection import select_channels

pytestmark = pytest.mark.parametrize("name", FAMILIES.names())
SIDE = 64


@cache
def example(name: str) -> nn.Module:
    """In float64, with batch norms that would betray a wrong coupling."""
    torch.manual_seed(0)
    model = FAMILIES.row(name, "family").example().double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.5)
    return model


def pruner_of(name: str) -> Pruner:
    return Pruner(copy.deepcopy(example(name)))


def test_the_family_knows_its_own_example_and_no_other_module(name: str) -> None:
    assert family_of(example(name)).name == name
    with pytest.raises(UnsupportedModel):
        FAMILIES.row(name, "family").channel_groups(nn.Sequential(nn.Linear(3, 3)))


def test_every_channel_is_in_one_group_and_every_group_in_one_index(name: str) -> None:
    pruner = pruner_of(name)
    modules = dict(pruner.model.named_modules())
    written: dict[tuple[str, int], str] = {}
    for group in pruner.groups:
        entries = pruner.widths[group.index]
        assert group.entry < len(entries)
        assert group.consumers
        for producer in group.producers:
            assert f"{producer.module}.conv" in modules
            for channel in range(producer.offset, producer.offset + group.width):
                assert written.setdefault((producer.module, channel), group.name) == group.name
    assert len({group.name for group in pruner.groups}) == len(pruner.groups)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.7])
@torch.no_grad()
def test_a_pruned_model_is_the_dense_one_with_those_channels_silenced(
    name: str, ratio: float
) -> None:
    pruner = pruner_of(name)
    plan = uniform_plan(pruner.widths, ratio)
    pruned = pruner.prune(plan)
    silenced = copy.deepcopy(pruner.model)
    modules = dict(silenced.named_modules())
    kept = select_channels(pruner.groups, plan, pruner.scores)
    for group in pruner.groups:
        gone = torch.tensor(
            sorted(set(range(group.width)) - set(kept[group.name].tolist())), dtype=int
        )
        for producer in group.producers:
            norm = modules[f"{producer.module}.bn"]
            norm.weight[producer.offset + gone] = 0
            norm.bias[producer.offset + gone] = 0
    image = torch.rand(1, 3, SIDE, SIDE, dtype=torch.float64)
    expected, got = _raw(silenced, image), _raw(pruned, image)
    assert float((got - expected).abs().max() / expected.abs().max()) < 1e-10
    if ratio:
        assert _params(pruned) < _params(pruner.model)


def test_its_search_space_fits_its_example(name: str) -> None:
    family = FAMILIES.row(name, "family")
    space = SearchSpace.load(space_file(family), family.widths(example(name)))
    strongest = {key: offered[0] for key, offered in space.choices.items()}
    assert isinstance(space.plan(strongest), PruningPlan)
    pruner_of(name).prune(space.plan(strongest))


def _params(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _raw(model: nn.Module, image: torch.Tensor) -> torch.Tensor:
    """All numbers of the network's output before boxes are decoded, as one vector."""
    found = model(image)
    while isinstance(found, (tuple, list)):
        found = found[-1]
    values = list(found.values()) if isinstance(found, dict) else [found]
    return torch.cat([value.flatten() for value in values if isinstance(value, torch.Tensor)])
