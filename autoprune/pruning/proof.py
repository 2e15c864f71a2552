"""Proof on the model at hand: after a cut it computes what it did with blind readers before."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from autoprune.errors import UnsupportedModel
from autoprune.pruning.groups import ChannelMap
from autoprune.pruning.surgery import cut_channels

TOLERANCE = 1e-9  # of an output's largest value; float64 noise over a hundred layers is near 1e-14
SHARE = 0.3  # of the channels that a try removes


def prove_cut(
    model: nn.Module, channels: ChannelMap, picture: tuple[int, ...], passed_on: tuple[str, ...]
) -> None:
    """Remove channels at random, and compare with the dense model whose readers ignore them.

    In float64; batch norms measure their statistics on the noise they are given, so that no branch
    is silent. Once in training mode, and once in the mode in which it is deployed. A second or two.

    Args:
        model: The dense model; not changed.
        channels: What is known of its channels.
        picture: Shape of an input, (batch, channels, height, width).
        passed_on: Keys of its answer that hold feature maps, not outputs.

    Raises:
        UnsupportedModel: The two differ, or the cut model does not run: its channels were not
            followed rightly.
    """
    noise = torch.rand(picture, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kept = _drawn(channels)
    try:
        blind = _blind(_double(model), channels, kept)
        expected = _answers(blind, noise, passed_on)
        del blind
    except Exception as error:  # a user's model raises anything
        raise _unsupported(model, f"it does not run in float64 ({_said(error)})") from None
    try:
        cut = _double(model)
        cut_channels(cut, channels, kept)
        got = _answers(cut, noise, passed_on)
    except Exception as error:
        why = f"with fewer channels it does not run ({_said(error)})"
        raise _unsupported(model, why) from None
    if not expected or got.keys() != expected.keys():
        raise _unsupported(model, "with fewer channels it has other outputs")
    for key, whole in expected.items():
        largest, same = float(whole.abs().max()), got[key].shape == whole.shape
        difference = float((got[key] - whole).abs().max()) if same else float("inf")
        if not difference <= TOLERANCE * max(largest, 1e-300):
            why = f"with fewer channels its output {key} is off by {difference:.1e}"
            raise _unsupported(model, why)


def _double(model: nn.Module) -> nn.Module:
    """A copy that gives the same twice."""
    copied = copy.deepcopy(model).cpu().double()
    for module in copied.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
    return copied


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _unsupported(model: nn.Module, why: str) -> UnsupportedModel:
    return UnsupportedModel(f"{type(model).__name__}: cannot be pruned: {why}")


def _drawn(channels: ChannelMap) -> dict[str, Tensor]:
    dice = torch.Generator().manual_seed(0)
    units: dict[str, int] = {}
    kept = {}
    for group in channels.groups:
        all_units = group.width // group.step
        stay = units.setdefault(group.cluster, max(1, round(all_units * (1 - SHARE))))
        order = torch.randperm(group.width, generator=dice)
        kept[group.name] = order[: group.step * stay].sort().values
    return kept


def _blind(model: nn.Module, channels: ChannelMap, kept: Mapping[str, Tensor]) -> nn.Module:
    """The dense model, what reads a removed channel set to 0."""
    modules: dict[str, Any] = dict(model.named_modules())
    with torch.no_grad():
        for group in channels.groups:
            gone = torch.ones(group.width, dtype=torch.bool)
            gone[kept[group.name]] = False
            for part in group.consumers:
                weight = getattr(modules[part.module], part.tensor).movedim(part.axis, 0)
                weight[part.offset + gone.nonzero().flatten()] = 0
    return model


@torch.no_grad()
def _answers(model: Any, noise: Tensor, passed_on: tuple[str, ...]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for mode in ("training", "deployed"):
        model.train(mode == "training")
        model.model[-1].training = True  # the head alone: raw outputs, no decoding
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train()
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            found |= dict(_tensors(model(noise), mode, passed_on))
    return found


def _tensors(answer: Any, key: str, passed_on: tuple[str, ...]) -> Iterator[tuple[str, Tensor]]:
    if isinstance(answer, Tensor):
        yield key, answer.double()
    elif isinstance(answer, dict):
        for inner, each in answer.items():
            if inner not in passed_on:
                yield from _tensors(each, f"{key}.{inner}", passed_on)
    elif isinstance(answer, (list, tuple)):
        for position, each in enumerate(answer):
            yield from _tensors(each, f"{key}.{position}", passed_on)
