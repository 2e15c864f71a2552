"""Blocks that nobody wrote a rule for: their channels stay, or go rightly; never wrongly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from autoprune.families.tracing.channel_map import channel_map, picture, summary
from autoprune.pruning.proof import prove_cut

WIDTH = 24


class Net(nn.Module):
    """Two convolutions around a block, and an output."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(3, WIDTH, 3, 2, 1), block, nn.Conv2d(WIDTH, 16, 1), nn.Conv2d(16, 4, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.model(x)
        return found


class Does(nn.Module):
    """A block of one function, with layers of its own."""

    def __init__(self, does: Callable[[Any, Tensor], Tensor], **own: Any) -> None:
        super().__init__()
        self.does = does
        for name, each in own.items():
            setattr(self, name, each)

    def forward(self, x: Tensor) -> Tensor:
        return self.does(self, x)


def _shuffle(block: Any, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def _by_attribute(block: Any, x: Tensor) -> Tensor:
    first, second = x.split((block.c, block.c), 1)
    return torch.cat((second, first), 1)


def _in_place(block: Any, x: Tensor) -> Tensor:
    x = x.clone()
    x += block.conv(x)
    return x.mul_(2.0)


def _half_in_place(block: Any, x: Tensor) -> Tensor:
    x = x.clone()
    x[:, : WIDTH // 2] += 1.0
    return x


def _attention(block: Any, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    qkv = block.qkv(x).view(n, block.heads, block.key * 2 + block.dim, h * w)
    q, k, v = qkv.split((block.key, block.key, block.dim), 2)
    seen = (q.transpose(-2, -1) @ k * block.scale).softmax(-1)
    return block.proj((v @ seen.transpose(-2, -1)).reshape(n, c, h, w)) + x


def _tokens(block: Any, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    t = x.flatten(2).transpose(1, 2)
    seen = functional.scaled_dot_product_attention(t, t, t)
    return block.conv(seen.transpose(1, 2).reshape(n, c, h, w))


def _conv(inputs: int = WIDTH, outputs: int = WIDTH, **more: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, **more)


ODD: dict[str, Callable[[], nn.Module]] = {
    "channel shuffle": lambda: Does(_shuffle),
    "pixel shuffle": lambda: nn.Sequential(nn.PixelShuffle(2), _conv(WIDTH // 4)),
    "group norm": lambda: nn.GroupNorm(4, WIDTH),
    "layer norm": lambda: Does(
        lambda b, x: b.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), norm=nn.LayerNorm(WIDTH)
    ),
    "einsum": lambda: Does(
        lambda b, x: torch.einsum("nchw,oc->nohw", x, b.mix),
        mix=nn.Parameter(torch.randn(WIDTH, WIDTH)),
    ),
    "a width in a comparison": lambda: Does(lambda b, x: x * 2 if x.shape[1] > 20 else x),
    "a width computed and compared": lambda: Does(lambda b, x: x * 2 if x.size(1) // 2 > 5 else x),
    "a width as a factor": lambda: Does(lambda b, x: x * x.shape[1] ** -0.5),
    "the number of all elements": lambda: Does(lambda b, x: x / x.numel()),
    "half of the channels in place": lambda: Does(_half_in_place),
    "some channels by their places": lambda: Does(lambda b, x: torch.cat((x[:, 5:], x[:, :5]), 1)),
    "an own tensor as a bias": lambda: Does(
        lambda b, x: x + b.bias, bias=nn.Parameter(torch.randn(1, WIDTH, 1, 1))
    ),
    "weights that are computed": lambda: Does(
        lambda b, x: functional.conv2d(x, b.conv.weight * 2), conv=_conv()
    ),
    "a grouped convolution": lambda: _conv(groups=4),
    "softmax over channels": lambda: nn.Softmax(1),
    "the mean over channels": lambda: Does(lambda b, x: x - x.mean(1, keepdim=True)),
    "the data of a tensor": lambda: Does(lambda b, x: x.data.flip(1)),
    "rolled": lambda: Does(lambda b, x: x.roll(3, 1)),
    "layer scale by its length": lambda: Does(
        lambda b, x: x * b.gamma.view(-1, len(b.gamma), 1, 1), gamma=nn.Parameter(torch.rand(WIDTH))
    ),
    "twice as many from each": lambda: nn.Sequential(
        nn.Conv2d(WIDTH, 2 * WIDTH, 3, 1, 1, groups=WIDTH), nn.Conv2d(2 * WIDTH, WIDTH, 1)
    ),
    "a width as a divisor of maps": lambda: Does(lambda b, x: x / x.shape[1]),
    "an attribute as a factor of maps": lambda: Does(lambda b, x: _by_attribute(b, x) * b.c, c=12),
    "a width in a factory": lambda: Does(
        lambda b, x: x + torch.ones(1, x.shape[1], 1, 1, device=x.device, dtype=x.dtype)
    ),
    "a width without training": lambda: Does(
        lambda b, x: x if b.training else x * x.shape[1] ** -0.5
    ),
    "another path without training": lambda: Does(
        lambda b, x: b.first(x) if b.training else b.second(x.softmax(1)),
        first=_conv(),
        second=_conv(),
    ),
    "channels by a list": lambda: Does(lambda b, x: x[:, list(range(WIDTH))[::-1]]),
    "unequal pieces": lambda: Does(
        lambda b, x: torch.cat(x.chunk(5, axis=1)[::-1], 1)  # four of five and one of four
    ),
    "an own kernel": lambda: Does(
        lambda b, x: functional.conv2d(x, b.kernel, groups=b.width),
        kernel=nn.Parameter(torch.randn(WIDTH, 1, 1, 1)),
        width=WIDTH,
    ),
    "expanded to a literal size": lambda: Does(
        lambda b, x: x + b.gamma.view(1, -1, 1, 1).expand(1, WIDTH, 1, 1),
        gamma=nn.Parameter(torch.rand(WIDTH)),
    ),
    "attention scaled by its width": lambda: Does(_tokens, conv=_conv()),
    "sorted": lambda: Does(lambda b, x: x.sort(1).values),
}

FREE: dict[str, Callable[[], nn.Module]] = {
    "squeeze and excite": lambda: Does(
        lambda b, x: x * b.up(b.down(x.mean((2, 3), keepdim=True)).relu()).sigmoid(),
        down=_conv(WIDTH, 8),
        up=_conv(8, WIDTH),
    ),
    "layer scale": lambda: Does(
        lambda b, x: x * b.gamma.view(1, -1, 1, 1), gamma=nn.Parameter(torch.rand(WIDTH))
    ),
    "halves by an attribute": lambda: Does(_by_attribute, c=WIDTH // 2),
    "added in place": lambda: Does(_in_place, conv=_conv()),
    "attention": lambda: Does(
        _attention,
        qkv=_conv(WIDTH, 2 * WIDTH),
        proj=_conv(),
        heads=2,
        key=WIDTH // 4,
        dim=WIDTH // 2,
        scale=0.3,
    ),
    "a depthwise convolution": lambda: nn.Conv2d(WIDTH, WIDTH, 3, 1, 1, groups=WIDTH),
    "transposed": lambda: nn.ConvTranspose2d(WIDTH, WIDTH, 2, 2),
    "normalized": lambda: nn.BatchNorm2d(WIDTH, affine=False),
    "slopes": lambda: nn.PReLU(WIDTH),
    "stacked and summed": lambda: Does(
        lambda b, x: torch.stack((x, b.conv(x))).sum(0), conv=_conv()
    ),
    "permuted and back": lambda: Does(lambda b, x: x.permute(0, 2, 3, 1).permute(0, 3, 1, 2)),
    "padded": lambda: nn.ZeroPad2d(1),
    "padded and averaged": lambda: Does(
        lambda b, x: x * functional.pad(input=x, pad=(1, 1, 1, 1)).mean((-1, -2), keepdim=True)
    ),
    "rolled over pixels": lambda: Does(lambda b, x: x.roll((1, 1), (2, 3)).flip(3)),
    "a spatial gate": lambda: Does(lambda b, x: x * b.gate(x).sigmoid(), gate=_conv(WIDTH, 1)),
    "one factor for all": lambda: Does(lambda b, x: x * b.one, one=nn.Parameter(torch.ones(1))),
    "dropout": lambda: nn.Dropout(0.5),
    "resized by name": lambda: Does(
        lambda b, x: functional.interpolate(input=x, scale_factor=2.0, mode="nearest")
    ),
    "a norm over one pixel": lambda: Does(
        lambda b, x: x * b.norm(x.mean((2, 3), keepdim=True)).sigmoid(), norm=nn.BatchNorm2d(WIDTH)
    ),
}


def _net(make: Callable[[], nn.Module]) -> Net:
    torch.manual_seed(0)
    return Net(make()).eval()


@pytest.mark.parametrize("kind", [*ODD, *FREE])
def test_whatever_a_block_does_no_channel_goes_wrongly(kind: str) -> None:
    model = _net({**ODD, **FREE}[kind])
    prove_cut(model, channel_map(model), (2, *picture(model)), ())


@pytest.mark.parametrize("kind", ODD)
def test_what_has_no_rule_keeps_its_channels_for_a_reason(kind: str) -> None:
    channels = channel_map(_net(ODD[kind]))
    assert all(group.index != 0 for group in channels.groups), channels.groups
    stem = [part for part in channels.frozen if part.index == 0]
    assert sum(part.width for part in stem) == WIDTH
    assert all(part.reasons for part in stem)


@pytest.mark.parametrize("kind", FREE)
def test_what_has_a_rule_is_free(kind: str) -> None:
    channels = channel_map(_net(FREE[kind]))
    (stem,) = [group for group in channels.groups if group.name == "0"] or [None]
    if kind == "halves by an attribute":
        stem = next(group for group in channels.groups if group.name == "0.a")
    assert stem is not None, summary(channels)


def test_what_has_none_says_what_it_is_and_where() -> None:
    channels = channel_map(_net(ODD["einsum"]))
    assert [(part.name, part.reasons) for part in channels.frozen if part.index == 0] == [
        ("0", ("nothing is known of einsum @ model.1",))
    ]
    channels = channel_map(_net(ODD["a width in a comparison"]))
    (stem,) = [part for part in channels.frozen if part.index == 0]
    assert stem.reasons == ("its number of channels is used as a number @ model.1",)


def test_an_attribute_that_counts_channels_is_named_with_what_it_counts() -> None:
    (size,) = channel_map(_net(FREE["halves by an attribute"])).sizes
    assert (size.module, size.name, size.fixed) == ("model.1", "c", 0)
    assert set(size.groups) <= {"0.a", "0.b"}
    assert len(size.groups) == 1
