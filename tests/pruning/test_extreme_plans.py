"""Extreme plans are clamped by the rule and give networks that run. The thousand: benchmarks/."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from autoprune.pruning.prune import Pruner
from tests.pruning.architectures import uniform
from tests.pruning.networks import image, plan_like, stock

EXTREMES = (0.0, 0.001, 0.5, 0.9, 0.98, 0.999)


@pytest.mark.parametrize(
    ("name", "seeds"),
    [
        ("yolov8n", range(50)),
        ("yolov8n-p2", range(50, 72)),
        ("yolov8n-p6", range(72, 94)),
        ("yolov8s", range(94, 100)),
    ],
)
@torch.no_grad()
def test_a_hundred_extreme_plans_give_finite_outputs(name: str, seeds: range) -> None:
    images, pruner = image(torch.float32, batch=1), Pruner(stock(name))
    for seed in seeds:
        plan = plan_like(uniform(name, 0.0), seed, EXTREMES)
        pruned = pruner.prune(plan)
        decoded, raw = pruned(images)
        assert torch.isfinite(decoded).all(), seed
        assert torch.isfinite(raw["scores"]).all(), seed
        for module in pruned.modules():
            if isinstance(module, nn.Conv2d):
                assert min(module.weight.shape) >= 1, seed
