"""Networks with nothing symmetric in them: random weights, affines and statistics, all distinct."""

from __future__ import annotations

import copy
import hashlib
import random
from functools import cache

import torch
from torch import nn
from ultralytics.nn.tasks import DetectionModel

from autoprune.domain.plan import PruningPlan
from autoprune.pruning.importance import CRITERIA
from tests.pruning.architectures import as_yaml

WEIGHT_CRITERIA = [row.name for row in CRITERIA if row.needs == "weights"]
RATIOS = (0.0, 0.1, 0.25, 0.4, 0.5, 0.75, 0.9)


@cache
def stock(name: str, classes: int = 80) -> DetectionModel:
    """`name` built from its YAML, float32, eval mode. Shared: tests that change it take a copy."""
    torch.manual_seed(0)
    recipe = as_yaml(name) if name == "unusual" else f"{name}.yaml"
    return DetectionModel(recipe, nc=classes, verbose=False).eval()


@cache
def scrambled(name: str) -> DetectionModel:
    """`name` in float64, random convs and batch norms, signals of order one, eval mode. Shared."""
    model = copy.deepcopy(stock(name)).double().train()
    dice = torch.Generator().manual_seed(1)

    def draw(like: torch.Tensor) -> torch.Tensor:
        return torch.randn(like.shape, generator=dice, dtype=like.dtype)

    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    with torch.no_grad():
        for key, module in model.named_modules():
            if isinstance(module, nn.Conv2d) and ".dfl." not in key:
                fan_in = module.weight[0].numel()
                module.weight.copy_(draw(module.weight) / fan_in**0.5)
                if module.bias is not None:
                    module.bias.copy_(draw(module.bias))
        for norm in norms:
            norm.weight.copy_(draw(norm.weight).sign() * (0.5 + draw(norm.weight).abs()))
            norm.bias.copy_(0.5 * draw(norm.bias))
            norm.momentum = 1.0
        model(torch.randn(4, 3, 64, 64, generator=dice, dtype=torch.float64))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.running_var.clamp_(min=1e-3)
            norm.running_mean.add_(0.3 * norm.running_var.sqrt() * draw(norm.running_mean))
            norm.running_var.mul_(1 + 0.3 * draw(norm.running_var).abs())
    return model.eval()


def image(dtype: torch.dtype = torch.float64, side: int = 64, batch: int = 2) -> torch.Tensor:
    """The same random images, shape (batch, 3, side, side), every time."""
    dice = torch.Generator().manual_seed(2)
    return torch.rand(batch, 3, side, side, generator=dice, dtype=torch.float64).to(dtype)


def plan_like(
    template: dict[int, float | tuple[float, float] | None], seed: int, choices: tuple[float, ...]
) -> PruningPlan:
    """A random plan over the indices of `template`; None stays None."""
    dice = random.Random(seed)
    drawn: dict[int, float | tuple[float, float] | None] = {}
    for index, entry in template.items():
        if entry is None:
            drawn[index] = None
        elif isinstance(entry, tuple):
            drawn[index] = (dice.choice(choices), dice.choice(choices))
        else:
            drawn[index] = dice.choice(choices)
    return PruningPlan(drawn, round_to=dice.choice((1, 1, 4, 8)))


def fingerprint(model: nn.Module) -> str:
    """Hash of every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256()
    for key, tensor in model.state_dict().items():
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
