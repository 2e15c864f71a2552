"""What a Conv block may be made of, so that cutting its channels cuts all that depends on them."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from autoprune.errors import UnsupportedModel

_SIDE = 8  # px of the map that a part is tried on


class PartsCheck:
    """Checks the blocks of one model, each once: one that is used twice cannot be cut."""

    def __init__(self) -> None:
        self._seen: dict[int, str] = {}  # the block's first name, by what it holds
        self._harmless: set[int] = set()  # activations that blocks share

    def check(self, block: Any, at: str, index: int) -> None:
        """Check a Conv block.

        Args:
            block: It holds `conv`, `act` and, unless fused, `bn`.
            at: Its name in the model.
            index: Its layer, for the message.

        Raises:
            UnsupportedModel: A part whose channels nobody follows, or a block used twice.
        """
        conv, norm, act = block.conv, getattr(block, "bn", None), block.act
        if type(conv) is not nn.Conv2d or conv.groups != 1:
            raise _unsupported(index, f"{at}.conv", conv, "a Conv2d of one group")
        if norm is not None and (type(norm) is not nn.BatchNorm2d or not norm.affine):
            raise _unsupported(index, f"{at}.bn", norm, "a BatchNorm2d with scale and shift")
        for part in (block, conv, norm):
            self._note(part, at, index)
        if isinstance(act, nn.PReLU) and act.num_parameters == conv.out_channels:
            self._note(act, at, index)
        elif id(act) not in self._harmless:
            check_alone(act, f"{at}.act", index, conv.weight.device)
            self._harmless.add(id(act))

    def _note(self, part: nn.Module | None, at: str, index: int) -> None:
        if part is None:
            return
        first = self._seen.setdefault(id(part), at)
        if first != at:
            raise UnsupportedModel(
                f"layer {index}: {at}: got {type(part).__name__} of {first} once more, expected a"
                " module of its own"
            )


def check_alone(part: nn.Module, at: str, index: int, device: torch.device) -> None:
    """Try whether a part treats each channel by itself and all alike, as activations and pools do.

    Raises:
        UnsupportedModel: It does not, or holds numbers for single channels.
    """
    alone = all(tensor.numel() == 1 for tensor in (*part.parameters(), *part.buffers()))
    if alone:
        tried = copy.deepcopy(part).eval()
        maps = torch.linspace(-3, 3, 4 * _SIDE * _SIDE, device=device).sin()
        maps = maps.reshape(1, 4, _SIDE, _SIDE)
        try:
            with torch.no_grad():
                whole, some = tried(maps.clone()), tried(maps[:, 1::2].clone())
            alone = whole.shape[1] == 4 and torch.equal(whole[:, 1::2], some)
        except Exception:  # a part may fail in any way
            alone = False
    if not alone:
        raise _unsupported(index, at, part, "a part that treats each channel by itself")


def _unsupported(index: int, at: str, part: nn.Module, expected: str) -> UnsupportedModel:
    return UnsupportedModel(f"layer {index}: {at}: got {type(part).__name__}, expected {expected}")
