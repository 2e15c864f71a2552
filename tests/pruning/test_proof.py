"""The proof at run time passes what is followed rightly, and every wrong coupling fails it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

from autoprune import families
from autoprune.errors import UnsupportedModel
from autoprune.families import channels_of
from autoprune.families.tracing.channel_map import NO_OUTPUTS, channel_map, picture
from autoprune.pruning.groups import ChannelGroup, ChannelMap
from autoprune.pruning.proof import prove_cut
from tests.families.every_model import scrambled
from tests.pruning.networks import fingerprint


@cache
def followed() -> ChannelMap:
    return channel_map(scrambled("yolo11n"))


def _prove(channels: ChannelMap) -> None:
    model = scrambled("yolo11n")
    prove_cut(model, channels, (2, *picture(model)), NO_OUTPUTS)


def test_what_is_followed_rightly_passes_and_the_model_stays_as_it_was() -> None:
    before = fingerprint(scrambled("yolo11n"))
    _prove(followed())
    assert fingerprint(scrambled("yolo11n")) == before
    assert not scrambled("yolo11n").training


Change = Callable[[ChannelGroup], ChannelGroup]


def _with(name: str, change: Change) -> ChannelMap:
    groups = tuple(change(g) if g.name == name else g for g in followed().groups)
    assert groups != followed().groups
    return replace(followed(), groups=groups)


def _read_elsewhere() -> ChannelMap:
    """Each half of a block is taken to be read where the other one is."""
    halves = {g.name: g for g in followed().groups if g.name in ("4.cv1.a", "4.cv1.b")}
    first, second = halves.values()
    turned = {
        first.name: replace(first, consumers=second.consumers),
        second.name: replace(second, consumers=first.consumers),
    }
    groups = tuple(turned.get(group.name, group) for group in followed().groups)
    return replace(followed(), groups=groups)


def _uncoupled() -> ChannelMap:
    """A residual's second maker as a group of its own: as many channels, but other ones."""
    alone = next(group for group in followed().groups if group.name == "10.cv1.b")
    first, second, *more = alone.producers
    own = replace(alone, name="own", producers=(second,), consumers=(), riders=())
    rest = replace(alone, producers=(first, *more))
    others = (rest if group is alone else group for group in followed().groups)
    return replace(followed(), groups=(*others, own))


def _unbalanced() -> ChannelMap:
    """The second head by itself, so that it keeps another share."""
    return _with("10.m.0.attn.qkv.d", lambda group: replace(group, cluster="own", step=2))


WRONG: dict[str, Callable[[], ChannelMap]] = {
    "read by another place": _read_elsewhere,
    "residual not coupled": _uncoupled,
    "batch norm not cut": lambda: _with(
        "4.cv2", lambda group: replace(group, riders=group.riders[1:])
    ),
    "depthwise convolution not cut": lambda: _with(
        "16.cv2",
        lambda group: replace(
            group, riders=tuple(r for r in group.riders if ".cv3.0.0.0.conv" not in r.module)
        ),
    ),
    "one reader forgotten": lambda: _with(
        "13.cv2", lambda group: replace(group, consumers=group.consumers[1:])
    ),
    "heads out of balance": _unbalanced,
    "sizes ignored": lambda: replace(followed(), sizes=()),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_coupling_fails_it_in_one_line(kind: str) -> None:
    with pytest.raises(UnsupportedModel, match=r"^DetectionModel: cannot be pruned: ") as said:
        _prove(WRONG[kind]())
    assert "\n" not in str(said.value)
    silent = kind in ("read by another place", "residual not coupled")  # every shape fits
    assert ("is off by" in str(said.value)) == silent


def test_a_rule_that_is_wrong_stops_a_model_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Rolled(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.roll(1, 1)

    from autoprune.families.tracing import channel_map as engine

    monkeypatch.setitem(engine.MOVEMENT, "roll", engine.ARITHMETIC["silu"])
    assert channels_of(scrambled("yolo11n")).groups  # a stock model is not concerned
    families._known.clear()
    model: Any = scrambled("yolo11n")
    before = model.model[0].act
    try:
        model.model[0].act = Rolled()
        with pytest.raises(UnsupportedModel, match=r"its output .* is off by"):
            channels_of(model)
    finally:
        model.model[0].act = before
        families._known.clear()
