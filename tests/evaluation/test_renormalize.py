"""Batch norms get the network's own statistics, and the network computes what it did before."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from autoprune.errors import TrialFailed
from autoprune.evaluation.dataset import DataSummary
from autoprune.evaluation.images import load_batch
from autoprune.evaluation.renormalize import renormalize_batchnorm


def norms_of(module: nn.Module) -> list[nn.BatchNorm2d]:
    return [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]


def scrambled(module: nn.Module) -> nn.Module:
    """Every batch norm far from the statistics of any image."""
    dice = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for norm in norms_of(module):
            for tensor, low, high in (
                (norm.running_mean, -0.5, 0.5),
                (norm.running_var, 0.5, 2.0),
                (norm.weight, 0.5, 1.5),
                (norm.bias, -0.5, 0.5),
            ):
                tensor.uniform_(low, high, generator=dice)
    return module


def raw_outputs(module: nn.Module, pictures: Tensor) -> list[Tensor]:
    with torch.no_grad():
        raw = module.eval()(pictures)[1]
    return [raw["boxes"], raw["scores"]]


def test_the_network_computes_what_it_did_before(
    pruned_module: nn.Module, data: DataSummary
) -> None:
    module, pictures = scrambled(pruned_module), load_batch(data.val, 64)
    before = raw_outputs(module, pictures)
    old = [norm.running_mean.clone() for norm in norms_of(module)]
    renormalize_batchnorm(module, data.train, 64, batch=4)
    assert not any(torch.equal(*pair.values()) for pair in _paired(old, norms_of(module)))
    for one, other in zip(before, raw_outputs(module, pictures), strict=True):
        torch.testing.assert_close(other, one, atol=1e-4, rtol=1e-4)


def _paired(old: list[Tensor], norms: list[nn.BatchNorm2d]) -> list[dict[str, Tensor]]:
    return [{"old": mean, "new": norm.running_mean} for mean, norm in zip(old, norms, strict=True)]


def test_statistics_are_those_of_all_pixels_however_the_batches_are_cut(
    pruned_module: nn.Module, data: DataSummary
) -> None:
    module, deep = scrambled(pruned_module), "model.4.m.0.cv2.bn"
    read: list[Tensor] = []
    handle = module.get_submodule(deep).register_forward_pre_hook(
        lambda _, inputs: read.append(inputs[0])
    )
    with torch.no_grad():
        module.eval()(load_batch(data.train[:7], 64))
    handle.remove()
    renormalize_batchnorm(module, data.train[:7], 64, batch=3)
    norm = module.get_submodule(deep)
    torch.testing.assert_close(norm.running_mean, read[0].mean((0, 2, 3)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(norm.running_var, read[0].var((0, 2, 3)), atol=1e-5, rtol=1e-4)


def test_a_training_step_then_starts_from_the_same_function(
    pruned_module: nn.Module, data: DataSummary
) -> None:
    """With the batch that gave the statistics, training mode answers as eval mode does."""
    module, pictures = scrambled(pruned_module), load_batch(data.train, 64)
    renormalize_batchnorm(module, data.train, 64)
    in_eval = raw_outputs(module, pictures)
    with torch.no_grad():
        raw = module.train()(pictures)
    for one, other in zip(in_eval, (raw["boxes"], raw["scores"]), strict=True):
        assert (one - other).square().mean() < 1e-3 * one.var()


def test_a_channel_that_never_changes_keeps_its_value(
    pruned_module: nn.Module, data: DataSummary
) -> None:
    module, pictures = scrambled(pruned_module), load_batch(data.val, 64)
    with torch.no_grad():
        module.model[0].conv.weight[3] = 0.0
    before = raw_outputs(module, pictures)
    renormalize_batchnorm(module, data.train, 64)
    norm = module.model[0].bn
    assert float(norm.running_var[3]) == 0.0
    assert all(part.isfinite().all() for part in (norm.weight, norm.bias))
    for one, other in zip(before, raw_outputs(module, pictures), strict=True):
        torch.testing.assert_close(other, one, atol=1e-4, rtol=1e-4)


def test_frozen_weights_stay_frozen_and_what_cannot_change_stays(
    pruned_module: nn.Module, data: DataSummary
) -> None:
    module, pictures = scrambled(pruned_module), load_batch(data.val, 64)
    module.model[0].bn.requires_grad_(False)
    width = module.model[1].bn.num_features
    module.model[1].bn = nn.BatchNorm2d(width, affine=False)
    module.model[3].bn = nn.BatchNorm2d(module.model[3].bn.num_features, track_running_stats=False)
    module.train()
    module.model[5].eval()
    modes = [part.training for part in module.modules()]
    stem = module.model[0].bn.running_mean.clone()
    renormalize_batchnorm(module, data.train, 64)
    assert [part.training for part in module.modules()] == modes
    assert not module.model[0].bn.weight.requires_grad
    assert not torch.equal(module.model[0].bn.running_mean, stem)
    assert torch.equal(module.model[1].bn.running_mean, torch.zeros(width))
    assert module.model[3].bn.running_mean is None
    assert not any(part._forward_pre_hooks for part in module.modules())
    assert all(part.isfinite().all() for part in raw_outputs(module, pictures))


def test_statistics_that_are_not_finite_fail_the_trial(
    pruned_module: nn.Module, data: DataSummary
) -> None:
    with torch.no_grad():
        pruned_module.model[0].conv.weight[0] = float("inf")
    with pytest.raises(TrialFailed) as caught:
        renormalize_batchnorm(pruned_module, data.train[:2], 64)
    assert caught.value.reason == "nan"


def test_no_image_is_too_few(pruned_module: nn.Module) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        renormalize_batchnorm(pruned_module, [], 64)
