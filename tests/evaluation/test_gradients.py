from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.cfg import get_cfg

from autoprune.errors import TrialFailed
from autoprune.evaluation.checkpoint import model_hash
from autoprune.evaluation.dataset import DataSummary
from autoprune.evaluation.gradients import collect_taylor
from autoprune.evaluation.images import load_labelled_batch
from autoprune.evaluation.recalibrate import recalibrate_batchnorm


def test_a_channels_scores_add_up_to_the_losss_slope_along_a_gate_on_that_channel(
    dense: YOLO, data: DataSummary
) -> None:
    """The same quantity by another way: a factor of 1 on the channel, and its gradient."""
    module = dense.model
    recalibrate_batchnorm(module, data.train, 64)  # else signals fade in an untrained net
    scores = collect_taylor(module, data, 64, len(data.train))
    model = copy.deepcopy(module).eval()
    model.args = get_cfg()
    for name in ("model.2.cv1.conv", "model.22.cv3.0.1.conv"):
        conv = model.get_submodule(name)
        gate = torch.ones(conv.out_channels, requires_grad=True)
        hook = conv.register_forward_hook(
            lambda _, __, out, gate=gate: out * gate[None, :, None, None]
        )
        batch = load_labelled_batch(data.train, 64, len(data.names))
        slope = torch.autograd.grad(model.loss(batch)[0].sum(), gate)[0]
        hook.remove()
        assert slope.abs().max() > 0.1, "too small to mean anything"
        added = scores[name].sum((1, 2, 3))
        torch.testing.assert_close(added, slope, rtol=1e-2, atol=1e-2 * float(slope.abs().max()))


def test_scores_have_the_weights_shapes_and_the_model_stays(
    pruned_module: nn.Module, data: DataSummary
) -> None:
    before = model_hash(pruned_module)
    flags = [parameter.requires_grad for parameter in pruned_module.parameters()]
    scores = collect_taylor(pruned_module, data, 64, 6, seed=3)
    convs = {
        name: part.weight.shape
        for name, part in pruned_module.named_modules()
        if isinstance(part, nn.Conv2d)
    }
    assert {name: score.shape for name, score in scores.items()} == convs
    assert model_hash(pruned_module) == before
    assert [parameter.requires_grad for parameter in pruned_module.parameters()] == flags
    again = collect_taylor(pruned_module, data, 64, 6, seed=3)
    other = collect_taylor(pruned_module, data, 64, 6, seed=4)
    stem = "model.0.conv"
    assert torch.equal(scores[stem], again[stem])
    assert not torch.equal(scores[stem], other[stem])


def test_a_loss_that_is_not_finite_is_told(pruned_module: nn.Module, data: DataSummary) -> None:
    with torch.no_grad():
        pruned_module.model[0].bn.weight[0] = float("nan")
    with pytest.raises(TrialFailed) as caught:
        collect_taylor(pruned_module, data, 64, 4)
    assert caught.value.reason == "nan"
