from __future__ import annotations

import pytest
import torch
from torch import nn

from autoprune.errors import TrialFailed
from autoprune.evaluation.dataset import DataSummary
from autoprune.evaluation.images import load_batch
from autoprune.evaluation.recalibrate import recalibrate_batchnorm


def test_statistics_are_the_average_over_the_batches(
    pruned_module: nn.Module, data: DataSummary
) -> None:
    stem = pruned_module.model[0]
    images = data.train[:9]  # at 4 a batch: 4 and, the last one joined, 5
    with torch.no_grad():
        stem.bn.running_mean.fill_(7.0)
        out = [stem.conv(load_batch(part, 64)) for part in (images[:4], images[4:])]
    recalibrate_batchnorm(pruned_module, images, 64, batch=4)
    means = torch.stack([part.mean((0, 2, 3)) for part in out]).mean(0)
    variances = torch.stack([part.var((0, 2, 3)) for part in out]).mean(0)
    torch.testing.assert_close(stem.bn.running_mean, means, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(stem.bn.running_var, variances, atol=1e-5, rtol=1e-4)


def test_weights_modes_and_momenta_stay(pruned_module: nn.Module, data: DataSummary) -> None:
    pruned_module.train()
    pruned_module.model[3].eval()
    modes = [part.training for part in pruned_module.modules()]
    norms = [part for part in pruned_module.modules() if isinstance(part, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    weights = [parameter.clone() for parameter in pruned_module.parameters()]
    recalibrate_batchnorm(pruned_module, data.train[:4], 64)
    assert [part.training for part in pruned_module.modules()] == modes
    assert [norm.momentum for norm in norms] == momenta
    assert all(map(torch.equal, weights, pruned_module.parameters()))


def test_statistics_that_are_not_finite_fail_the_trial(
    pruned_module: nn.Module, data: DataSummary
) -> None:
    with torch.no_grad():
        pruned_module.model[0].conv.weight[0] = float("inf")
    with pytest.raises(TrialFailed) as caught:
        recalibrate_batchnorm(pruned_module, data.train[:4], 64)
    assert caught.value.reason == "nan"


def test_one_image_is_too_few(pruned_module: nn.Module, data: DataSummary) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        recalibrate_batchnorm(pruned_module, data.train[:1], 64)
