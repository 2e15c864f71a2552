"""Moments equal numpy's on tiny inputs; gradients weigh them; the model stays as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autoprune.pruning import statistics as module
from autoprune.pruning.statistics import (
    EVEN_SHARE,
    GRADIENT_POWER,
    InputMoments,
    collect_statistics,
    ridge_for,
)
from tests.pruning.networks import fingerprint

PATCHES = {  # kernel, stride, padding, dilation
    "1x1": (1, 1, 0, 1),
    "3x3": (3, 1, 1, 1),
    "3x3 strided": (3, 2, 1, 1),
    "1x1 strided": (1, 2, 0, 1),
    "flat kernel, no padding, dilated": ((1, 3), (2, 1), 0, (1, 2)),
}


class Net(nn.Module):
    """One convolution; `gate` multiplies the gradient of every output pixel."""

    def __init__(self, *shape: Any) -> None:
        super().__init__()
        kernel, stride, padding, dilation = shape or PATCHES["1x1"]
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, kernel, stride, padding, dilation)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(x)
        return result


def summed(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Every output pixel and channel has gradient `gate`, 1 without one."""
    outputs: Tensor = model(batch["img"])
    return (outputs * batch.get("gate", torch.ones(()))).sum()


def pictures(count: int = 2, side: int = 7, seed: int = 0) -> Tensor:
    dice = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, side, side, generator=dice, dtype=torch.float64)


def patches_by_hand(x: NDArray[Any], conv: nn.Conv2d) -> NDArray[Any]:
    """All patches the kernel sees, one row each, in the order of the weight's flatten(1)."""
    (kh, kw), (sh, sw), (dh, dw) = conv.kernel_size, conv.stride, conv.dilation
    assert not isinstance(conv.padding, str)
    ph, pw = conv.padding
    x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    rows = []
    for picture in x:
        for top in range(0, x.shape[2] - dh * (kh - 1), sh):
            for left in range(0, x.shape[3] - dw * (kw - 1), sw):
                patch = picture[:, top : top + dh * kh : dh, left : left + dw * kw : dw]
                rows.append(patch[:, :kh, :kw].reshape(-1))
    return np.array(rows)


@pytest.mark.parametrize("shape", list(PATCHES.values()), ids=list(PATCHES))
def test_kernel_wide_moments_are_numpys_over_all_patches(shape: tuple[Any, ...]) -> None:
    model, x = Net(*shape).double(), pictures()
    found = collect_statistics(model, ["conv"], [{"img": x}], summed).inputs["conv"]
    rows = patches_by_hand(x.numpy(), model.conv)
    by_convolution = model.conv(x).permute(0, 2, 3, 1).reshape(len(rows), -1)
    by_hand = torch.from_numpy(rows) @ model.conv.weight.flatten(1).T + model.conv.bias
    torch.testing.assert_close(by_hand, by_convolution)  # the order is the weight's
    assert found.kernel_wide
    np.testing.assert_allclose(found.mean, rows.mean(axis=0))
    np.testing.assert_allclose(found.covariance, np.cov(rows.T, bias=True), atol=1e-12)


@pytest.mark.parametrize("shape", list(PATCHES.values()), ids=list(PATCHES))
def test_channel_only_moments_are_numpys_over_all_pixels(
    shape: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KERNEL_WIDE_BYTES", 0)
    model, x = Net(*shape).double(), pictures()
    found = collect_statistics(model, ["conv"], [{"img": x}], summed).inputs["conv"]
    rows = x.permute(0, 2, 3, 1).reshape(-1, 3).numpy()
    assert not found.kernel_wide
    np.testing.assert_allclose(found.mean, rows.mean(axis=0))
    np.testing.assert_allclose(found.covariance, np.cov(rows.T, bias=True), atol=1e-12)


@pytest.mark.parametrize("kernel_wide", [True, False])
def test_every_pixel_counts_by_its_gradient_and_by_an_even_share(
    kernel_wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KERNEL_WIDE_BYTES", 10**9 if kernel_wide else 0)
    model, x = Net().double(), pictures()
    gate = torch.zeros(2, 1, 7, 7, dtype=torch.float64)
    gate[:, :, 2:4] = 1.0
    gate[:, :, 5] = 3.0
    batch = {"img": x, "gate": gate}
    found = collect_statistics(model, ["conv"], [batch], summed).inputs["conv"]
    strength = (4 * gate.numpy() ** 2).ravel() ** GRADIENT_POWER  # four output channels
    weights = (1 - EVEN_SHARE) * strength / strength.mean() + EVEN_SHARE
    rows = x.permute(0, 2, 3, 1).reshape(-1, 3).numpy()
    np.testing.assert_allclose(found.mean, np.average(rows, axis=0, weights=weights))
    covariance = np.cov(rows.T, bias=True, aweights=weights)
    np.testing.assert_allclose(found.covariance, covariance, atol=1e-12)


def test_where_nothing_has_a_gradient_every_pixel_counts_the_same() -> None:
    model, x = Net().double(), pictures()
    batch = {"img": x, "gate": torch.zeros(2, 1, 7, 7, dtype=torch.float64)}
    statistics = collect_statistics(model, ["conv"], [batch], summed)
    rows = x.permute(0, 2, 3, 1).reshape(-1, 3).numpy()
    np.testing.assert_allclose(statistics.inputs["conv"].mean, rows.mean(axis=0))
    assert not statistics.output_fisher["conv"].any()


def test_batches_of_any_size_add_up() -> None:
    model, x = Net(*PATCHES["3x3"]).double(), pictures(5)
    at_once = collect_statistics(model, ["conv"], [{"img": x}], summed)
    in_parts = collect_statistics(model, ["conv"], [{"img": x[:3]}, {"img": x[3:]}], summed)
    for field in ("mean", "covariance"):
        torch.testing.assert_close(
            getattr(in_parts.inputs["conv"], field), getattr(at_once.inputs["conv"], field)
        )
    torch.testing.assert_close(in_parts.output_fisher, at_once.output_fisher)


def test_fisher_sums_squared_gradients_over_pixels_and_averages_them_over_images() -> None:
    model, gate = Net().double(), torch.rand(2, 4, 7, 7, dtype=torch.float64)
    batch = {"img": pictures(), "gate": gate}
    fisher = collect_statistics(model, ["conv"], [batch], summed).output_fisher["conv"]
    np.testing.assert_allclose(fisher, (gate.numpy() ** 2).sum(axis=(2, 3)).mean(axis=0))


def test_single_precision_survives_a_mean_far_above_the_deviation() -> None:
    model = Net()
    x = (30 + pictures(64)).float()
    found = collect_statistics(model, ["conv"], [{"img": part} for part in x.split(8)], summed)
    exact = np.cov(x.double().permute(0, 2, 3, 1).reshape(-1, 3).numpy().T, bias=True)
    np.testing.assert_allclose(found.inputs["conv"].covariance, exact, atol=0.01 * exact.max())


def test_rows_are_drawn_by_the_seed_where_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LEAST_ROWS", 20)
    batches = [{"img": pictures()}]
    first, again, other = (
        collect_statistics(Net().double(), ["conv"], batches, summed, seed).inputs["conv"].mean
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("kernel_wide", [True, False])
def test_drawn_rows_tell_in_the_mean_what_all_rows_tell(
    kernel_wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KERNEL_WIDE_BYTES", 10**9 if kernel_wide else 0)
    model, x = Net(*PATCHES["3x3 strided"]).double(), pictures()
    gate = torch.rand(2, 1, 4, 4, dtype=torch.float64).pow(4)
    batch = {"img": x, "gate": gate}
    every = collect_statistics(model, ["conv"], [batch], summed).inputs["conv"]
    monkeypatch.setattr(module, "LEAST_ROWS", 8)  # of 16 outputs or 49 pixels
    monkeypatch.setattr(module, "ROWS_PER_COLUMN", 0.0)
    drawn = collect_statistics(model, ["conv"], [batch] * 2000, summed).inputs["conv"]
    torch.testing.assert_close(drawn.mean, every.mean, atol=0.01, rtol=0)
    torch.testing.assert_close(drawn.covariance, every.covariance, atol=0.005, rtol=0)


def test_a_covariance_of_many_blocks_is_that_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batches = Net(*PATCHES["3x3"]).double(), [{"img": pictures()}]
    one = collect_statistics(model, ["conv"], batches, summed).inputs["conv"].covariance
    monkeypatch.setattr(module, "_BLOCK", 10)
    many = collect_statistics(model, ["conv"], batches, summed).inputs["conv"].covariance
    torch.testing.assert_close(many, one)


@pytest.mark.parametrize(
    ("limit_s", "looked_at"), [(None, 40), (100.0, 40), (60.0, 24), (30.0, 16), (0.0, 16)]
)
def test_a_time_limit_is_kept_by_looking_at_fewer_images_but_never_too_few(
    limit_s: float | None, looked_at: int
) -> None:
    """Ten batches of four images, ten seconds each."""
    seconds = iter(range(0, 1000, 10))
    x = pictures(40)
    batches = [{"img": part} for part in x.split(4)]
    limited, plain = Net(*PATCHES["3x3"]).double(), Net(*PATCHES["3x3"]).double()
    found = collect_statistics(
        limited, ["conv"], batches, summed, 0, limit_s, lambda: float(next(seconds))
    )
    assert found.images == looked_at
    same = collect_statistics(plain, ["conv"], batches[: looked_at // 4], summed)
    assert torch.equal(found.inputs["conv"].covariance, same.inputs["conv"].covariance)
    assert torch.equal(found.output_fisher["conv"], same.output_fisher["conv"])


def test_an_activation_may_work_in_place_on_the_first_convolution() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 1)).eval()
    found = collect_statistics(model, ["0", "2"], [{"img": torch.rand(2, 3, 7, 7)}], summed)
    assert found.output_fisher["0"].any()
    assert found.images == 2


def test_the_smallest_covariances_are_kernel_wide_as_far_as_memory_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = nn.Sequential(nn.Conv2d(8, 4, 3), nn.Conv2d(4, 2, 3), nn.Conv2d(2, 16, 1))
    sizes = {"2": 2**2 * 4, "1": (4 * 9) ** 2 * 4, "0": (8 * 9) ** 2 * 4}

    def wide(limit: int) -> set[str]:
        monkeypatch.setattr(module, "KERNEL_WIDE_BYTES", limit)
        batch = {"img": torch.rand(1, 8, 9, 9)}
        found = collect_statistics(model, list(sizes), [batch], summed).inputs
        assert {name: len(one.mean) for name, one in found.items()} == {
            name: model.get_submodule(name).weight[0].numel()
            if one.kernel_wide
            else model.get_submodule(name).in_channels
            for name, one in found.items()
        }
        return {name for name, one in found.items() if one.kernel_wide}

    assert wide(sum(sizes.values())) == {"0", "1", "2"}
    assert wide(sum(sizes.values()) - 1) == {"1", "2"}
    assert wide(sizes["2"]) == {"2"}
    assert wide(0) == set()


def test_the_model_and_the_batch_stay_as_they_were() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)).eval()
    model[2].weight.requires_grad_(False)
    model[1].train()
    flags = [parameter.requires_grad for parameter in model.parameters()]
    modes = [part.training for part in model.modules()]
    model[1].momentum = 0.0
    model[1].register_buffer("num_batches_tracked", None)
    before, batch = fingerprint(model), {"img": torch.rand(2, 3, 7, 7)}
    pixels = batch["img"].clone()

    def broken(running: nn.Module, given: dict[str, Tensor]) -> Tensor:
        return summed(running, given) * torch.nan

    collect_statistics(model, ["0", "2"], [batch], summed)
    with pytest.raises(FloatingPointError, match="not finite"):
        collect_statistics(model, ["0", "2"], [batch], broken)
    assert fingerprint(model) == before
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    assert [part.training for part in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(part._forward_hooks for part in model.modules())
    assert torch.equal(batch["img"], pixels)
    assert not batch["img"].requires_grad


def test_no_batch_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="no images"):
        collect_statistics(Net(), ["conv"], [], summed)


def test_the_ridge_is_a_share_of_the_spread_and_enough_for_an_input_without_any() -> None:
    eye, noise = torch.eye(4), 1e-9 * torch.randn(4, 4)
    usual = InputMoments(torch.full((4,), 0.7), 2.0 * eye, False)
    assert ridge_for(usual, 0.01) == pytest.approx(0.02)
    assert ridge_for(usual, 0.0) == 0.0
    constant = InputMoments(torch.full((4,), 0.7), noise + noise.T, False)
    amount = ridge_for(constant, 0.01)
    assert amount == pytest.approx(0.49e-6)
    torch.linalg.cholesky(constant.covariance.double() + amount * eye.double())
    assert ridge_for(InputMoments(torch.zeros(4), torch.zeros(4, 4), False), 0.01) == 1.0
