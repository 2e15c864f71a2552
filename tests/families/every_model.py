"""Models of every family and task with nothing symmetric in them, and what they answer."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics import YOLO

from autoprune.domain.plan import PruningPlan, as_entry

Convolution = nn.Conv2d | nn.ConvTranspose2d
RATIOS = (0.0, 0.1, 0.25, 0.4, 0.5, 0.75, 0.9)


@lru_cache(maxsize=2)
def scrambled(name: str) -> Any:
    """A stock model in float64, its weights drawn, its statistics measured on noise. Shared."""
    torch.manual_seed(0)
    model: Any = copy.deepcopy(YOLO(f"{name}.yaml").model).double().train()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    with torch.no_grad():
        for key, module in model.named_modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and ".dfl." not in key:
                module.weight.normal_(0, module.weight[0].numel() ** -0.5)
                if module.bias is not None:
                    module.bias.normal_()
        for norm in norms:
            norm.weight.normal_().add_(norm.weight.sign() * 0.5)
            norm.bias.normal_(0, 0.5)
            norm.momentum = 1.0
        model(torch.randn(2, *picture(model).shape[1:], dtype=torch.float64))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.running_var.clamp_(min=1e-3)
            norm.running_mean.add_(0.3 * norm.running_var.sqrt() * torch.randn_like(norm.bias))
    return model.eval()


def picture(model: Any) -> Tensor:
    """One random image, of a side that suits the largest stride."""
    side = max(64, 2 * int(model.stride.max()))
    dice = torch.Generator().manual_seed(2)
    return torch.rand(1, 3, side, side, generator=dice, dtype=torch.float64)


@torch.no_grad()
def answers(model: Any) -> dict[str, Tensor]:
    """All raw outputs of every branch, by where they stand."""
    return dict(_tensors(model.eval()(picture(model)), ""))


def _tensors(answer: Any, key: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(answer, Tensor):
        yield key, answer
    elif isinstance(answer, dict):
        for inner, each in answer.items():
            if inner != "feats":  # what the head was given
                yield from _tensors(each, f"{key}.{inner}")
    elif isinstance(answer, (list, tuple)):
        for position, each in enumerate(answer):
            # the first of a tuple is decoded: noise of a box's corner is as large as a real error
            if not (isinstance(answer, tuple) and position == 0 and isinstance(answer[1], dict)):
                yield from _tensors(each, f"{key}.{position}")


def random_plan(widths: dict[int, tuple[int, ...]], seed: int) -> PruningPlan:
    """Ratios of any strength."""
    dice = random.Random(seed)
    ratios = {
        index: as_entry(tuple(dice.choice(RATIOS) for _ in reference))
        for index, reference in widths.items()
    }
    return PruningPlan(ratios, round_to=dice.choice((1, 4, 8)))


def silenced(dense: nn.Module, pruned: nn.Module) -> Any:
    """The dense model with the channels that `pruned` lacks made zero wherever they are computed.

    They are read off the numbers alone: every running mean, or bias, of a scrambled model is
    different.
    """
    result = copy.deepcopy(dense)
    modules, left = dict(result.named_modules()), dict(pruned.named_modules())
    assert modules.keys() == left.keys()
    with torch.no_grad():
        for name, old in modules.items():
            new: Any = left[name]
            if isinstance(old, nn.BatchNorm2d):
                assert new.num_features == len(new.weight) == len(new.running_var)
                gone = _gone(new.running_mean, old.running_mean)
                old.weight[gone] = old.bias[gone] = 0
            elif isinstance(old, (nn.Conv2d, nn.ConvTranspose2d)):
                _assert_sizes(new)
                if old.bias is not None and ".dfl." not in name:
                    gone = _gone(new.bias, old.bias)
                    old.bias[gone] = 0
                    if isinstance(old, nn.ConvTranspose2d):
                        old.weight[:, gone] = 0
                    else:
                        old.weight[gone] = 0
    return result


def _assert_sizes(conv: Convolution) -> None:
    turned = isinstance(conv, nn.ConvTranspose2d)
    inputs = conv.in_channels // (1 if turned else conv.groups)
    outputs = conv.out_channels // (conv.groups if turned else 1)
    expected = (inputs, outputs) if turned else (outputs, inputs)
    assert conv.weight.shape[:2] == expected


def _gone(new: Tensor, old: Tensor) -> Tensor:
    kept = torch.isin(old, new)
    assert int(kept.sum()) == len(new), "a number that the dense model lacks, or holds twice"
    assert torch.equal(old[kept], new), "in another order"
    return ~kept


def error(got: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Largest difference as a fraction of the largest value, over all outputs."""
    assert got.keys() == expected.keys()
    assert got
    for tensor in (*got.values(), *expected.values()):
        assert torch.isfinite(tensor).all()
    return max(
        float((got[key] - expected[key]).abs().max() / expected[key].abs().max()) for key in got
    )
