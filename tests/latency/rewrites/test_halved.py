"""cv1 as two convolutions: which blocks, with which weights, under which names."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from ultralytics.nn.modules import C2PSA, C3, SPPF, C2f, C3k2, Conv
from ultralytics.nn.modules.block import C2

from autoprune.latency.export import folded
from autoprune.latency.rewrites import halved
from autoprune.latency.rewrites.names import half_of, whole_name
from tests.latency.rewrites.layers import Block


def ready(block: nn.Module) -> nn.Module:
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias)
    return folded(block).double()


@pytest.mark.parametrize(
    "block",
    [C2f(12, 24, 2, shortcut=True), C2(12, 24, 2), C3k2(12, 24, 1), C2PSA(128, 128)],
    ids=lambda block: type(block).__name__,
)
def test_blocks_that_halve_cv1_compute_the_same_from_two_convolutions(block: nn.Module) -> None:
    stock = ready(block)
    before = copy.deepcopy(stock.state_dict())
    better = halved.replacement(stock)
    image = torch.randn(2, stock.cv1.conv.in_channels, 9, 7, dtype=torch.float64)
    torch.testing.assert_close(better(image), stock(image), rtol=1e-9, atol=1e-12)
    assert isinstance(better.cv1, halved.HalvedConv)
    assert isinstance(stock.cv1, Conv)
    assert all(torch.equal(before[key], value) for key, value in stock.state_dict().items())
    assert not any(each.requires_grad for each in better.parameters())


def test_blocks_that_do_not_halve_cv1_are_left_alone() -> None:
    normed = ready(C2f(12, 24))
    normed.cv1.bn = nn.GroupNorm(2, 24)
    for block in (ready(C3(12, 24)), ready(SPPF(12, 24)), normed, C2f(12, 24), nn.Identity()):
        assert halved.replacement(block) is None
    assert halved.replacement(Block(4, nn.SiLU(), outputs=9)) is None


def test_the_halves_carry_a_name_that_leads_back_to_the_whole() -> None:
    better = nn.Sequential(halved.replacement(ready(C2f(12, 24))))
    names = {name for name, each in better.named_modules() if isinstance(each, nn.Conv2d)}
    halves = {name for name in names if name.startswith("0.cv1.")}
    assert len(halves) == 2
    assert {whole_name(name) for name in halves} == {"0.cv1.conv"}
    assert {whole_name(name) for name in names - halves} == names - halves
    assert {half_of(name) for name in halves} == {"half0", "half1"}
    assert {half_of(name) for name in names - halves} == {None}


def test_the_halves_can_be_read_as_halves_of_the_channels_alone() -> None:
    halves = halved.replacement(ready(C2f(12, 24))).cv1(torch.zeros(1, 12, 4, 4).double())
    assert len(halves.chunk(2, 1)) == len(halves.split((12, 12), 1)) == 2
    for read in (
        lambda: halves.chunk(4, 1),
        lambda: halves.chunk(2, 2),
        lambda: halves.split((6, 18), 1),
        lambda: halves.split((12, 12), 2),
    ):
        with pytest.raises(ValueError, match="only two halves"):
            read()
