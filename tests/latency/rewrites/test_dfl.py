"""DFL as a matrix product: equal to Ultralytics' own wherever that is finite."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from ultralytics.nn.modules import DFL, Conv

from autoprune.latency.rewrites import dfl

BINS = (16, 4, 2)


def logits(kind: str, bins: int, dtype: torch.dtype) -> torch.Tensor:
    """Shape (2, 4 * bins, 64)."""
    dice = torch.Generator().manual_seed(0)
    normal = torch.randn(2, 4, bins, 64, generator=dice, dtype=torch.float64)
    hot = torch.zeros_like(normal)
    hot[:, :, 1] = 1.0
    drawn = {
        "real": 3 * normal,
        "huge": 1e4 * normal,
        "largest": normal.sign() * torch.finfo(torch.float32).max / 4,
        "all huge": 1e4 + normal,
        "all tiny": -1e4 + normal,
        "tiny differences": 1e-6 * normal,
        "equal": torch.full_like(normal, 7.0),
        "one-hot": 200 * hot,
        "one of many is minus infinity": normal.masked_fill(hot.bool(), -torch.inf),
        "just below where exp overflows": 88.0 + 0.1 * normal,
    }
    return drawn[kind].reshape(2, 4 * bins, 64).to(dtype)


KINDS = (
    "real",
    "huge",
    "largest",
    "all huge",
    "all tiny",
    "tiny differences",
    "equal",
    "one-hot",
    "one of many is minus infinity",
    "just below where exp overflows",
)


@pytest.mark.parametrize("bins", BINS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_product_equals_softmax_and_convolution(kind: str, bins: int) -> None:
    for dtype, relative, absolute in ((torch.float64, 1e-9, 1e-12), (torch.float32, 1e-5, 1e-5)):
        stock = DFL(bins).to(dtype)
        better = dfl.replacement(stock)
        given = logits(kind, bins, dtype)
        expected = stock(given)
        assert expected.isfinite().all()
        torch.testing.assert_close(better(given), expected, rtol=relative, atol=absolute)


def test_other_weights_than_the_bins_numbers_are_taken_over() -> None:
    stock = DFL(8).double()
    nn.init.normal_(stock.conv.weight)
    given = logits("real", 8, torch.float64)
    torch.testing.assert_close(dfl.replacement(stock)(given), stock(given))


def test_other_layers_are_left_alone() -> None:
    biased = DFL(16)
    biased.conv.bias = nn.Parameter(torch.ones(1))
    assert dfl.replacement(biased) is None
    assert dfl.replacement(Conv(16, 1, 1)) is None
    assert dfl.replacement(nn.Identity()) is None
    assert dfl.replacement(DFL(16)) is not None
