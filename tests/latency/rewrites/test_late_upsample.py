"""A 1x1 convolution before the upsampling: which blocks, the same numbers, on fewer pixels."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from ultralytics.nn.modules import C3, C2f, Concat
from ultralytics.nn.modules.block import C2

from autoprune.latency.export import folded
from autoprune.latency.rewrites import halved, late_upsample, rewrite_in_place
from autoprune.latency.rewrites.late_upsample import Join, joins
from autoprune.latency.rewrites.names import columns_of, whole_name
from tests.latency.rewrites.layers import rewritten_layers
from tests.pruning.networks import image, scrambled

COARSE, FINE = 7, 5


def join(block: nn.Module | None = None, upsample: nn.Module | None = None) -> Join:
    """In float64, its batch norms folded."""
    block = block or C2f(COARSE + FINE, 16, 1)
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias)
    up = upsample or nn.Upsample(scale_factor=2, mode="nearest")
    return Join((up, Concat(1), folded(block).double()), COARSE)


def with_halves(stock: Join) -> Join:
    better = halved.replacement(stock.block)
    assert better is not None
    return Join((stock.upsample, stock.concat, better), COARSE)


@pytest.mark.parametrize(
    "stock",
    [
        join(),
        with_halves(join()),
        join(C2(COARSE + FINE, 16, 1)),
        join(upsample=nn.Upsample(scale_factor=3)),
    ],
    ids=["C2f", "C2f halved", "C2", "three times as wide"],
)
def test_the_join_computes_the_same_and_convolves_the_coarse_map_as_it_is(stock: Join) -> None:
    better = late_upsample.replacement(stock)
    scale = int(stock.upsample.scale_factor)
    coarse = torch.randn(2, COARSE, 4, 3, dtype=torch.float64)
    fine = torch.randn(2, FINE, 4 * scale, 3 * scale, dtype=torch.float64)
    seen: list[tuple[int, ...]] = []
    for name, module in better.named_modules():
        if columns_of(name):
            assert whole_name(name) == "block.cv1.conv"
            module.register_forward_hook(lambda _, given, __: seen.append(tuple(given[0].shape)))
    before = copy.deepcopy(stock.state_dict())
    torch.testing.assert_close(better(coarse, fine), stock(coarse, fine), rtol=1e-9, atol=1e-12)
    assert set(seen) == {tuple(coarse.shape), tuple(fine.shape)}
    assert all(torch.equal(before[key], value) for key, value in stock.state_dict().items())
    assert late_upsample.replacement(better) is None


def test_what_does_not_commute_with_repeating_pixels_is_left_alone() -> None:
    wide, normed = folded(C2f(12, 16)), folded(C2f(12, 16))
    wide.cv1.conv = nn.Conv2d(12, 16, 3, padding=1)
    normed.cv1.bn = nn.GroupNorm(2, 16)
    left = (
        join(upsample=nn.Upsample(scale_factor=2, mode="bilinear")),
        join(upsample=nn.Upsample(scale_factor=1.5)),
        join(upsample=nn.Upsample(size=(8, 8))),
        Join((nn.Upsample(scale_factor=2), Concat(1), wide), COARSE),
        Join((nn.Upsample(scale_factor=2), Concat(1), normed), COARSE),
        Join((nn.Upsample(scale_factor=2), Concat(1), nn.ReLU()), COARSE),
        Join((nn.Upsample(scale_factor=2), Concat(1), C2f(12, 16)), COARSE),  # not folded
        nn.Identity(),
    )
    assert [late_upsample.replacement(each) for each in left] == [None] * len(left)


def _read_by_another(model: nn.Module) -> None:
    model.save = [*model.save, 10]


def _other_order(model: nn.Module) -> None:
    model.model[11].f = [6, -1]


def _no_detector(model: nn.Module) -> None:
    del model.save


def _does_not_run(model: nn.Module) -> None:
    model.model[4] = nn.Flatten()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda model: None, [10, 13]),
        (_read_by_another, [13]),
        (_other_order, [13]),
        (_no_detector, []),
        (_does_not_run, []),
    ],
)
def test_a_join_is_three_layers_that_nobody_else_reads(
    change: Callable[[nn.Module], None], found: list[int]
) -> None:
    model = folded(scrambled("yolov8n"))
    change(model)
    assert [index for index, _ in joins(model)] == found


def test_three_maps_are_no_join() -> None:
    assert list(joins(folded(scrambled("unusual")))) == []


class TwiceRead(C2f):
    """Adds a channel of what it reads."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return super().forward(given) + given[:, :1]

    forward_split = forward


class TwiceReadC3(C3):
    """A block whose two first convolutions read the same."""


@pytest.mark.parametrize("kind", [TwiceRead, TwiceReadC3])
def test_a_block_that_reads_the_join_elsewhere_too_stays(kind: type[nn.Module]) -> None:
    model = folded(scrambled("yolov8n")).double()
    stock = model.model[12]
    other = folded(kind(384, 128)).double()
    other.f, other.i, other.type = stock.f, stock.i, stock.type
    model.model[12] = other
    expected = copy.deepcopy(model)(image())
    better = rewrite_in_place(model)
    assert isinstance(better.model[11], Concat)
    assert rewritten_layers(better)["late upsample"] == 2  # at 15, in halves
    torch.testing.assert_close(better(image()), expected, rtol=1e-9, atol=1e-9)


def test_other_convolutions_names_stay_their_own() -> None:
    assert whole_name("model.12.cv1.coarse_columns") == "model.12.cv1.conv"
    assert whole_name("model.12.cv1.half1.fine_columns") == "model.12.cv1.conv"
    for name in ("model.0.conv", "conv", "model.22.cv2.0.2", "half0_conv"):
        assert whole_name(name) == name
        assert columns_of(name) is None


def test_a_backbone_may_go_deeper_than_the_head_reads() -> None:
    model = folded(scrambled("yolov8n"))
    found = [index for index, _ in joins(model)]
    assert found
    model.stride = torch.tensor([8.0])
    assert [index for index, _ in joins(model)] == found
