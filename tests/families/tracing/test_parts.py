"""A part whose channels nobody follows keeps them; what can be followed is cut."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from autoprune.api import prune_detection_model
from autoprune.demo.bundle import demo_checkpoint
from autoprune.demo.dataset import Split, write_detection_set
from autoprune.evaluation.checkpoint import load_yolo
from autoprune.families.tracing.channel_map import channel_map
from autoprune.pruning.prune import Pruner, uniform_plan, widths_of
from autoprune.pruning.selection import select_channels
from tests.pruning.networks import stock

Change = Callable[[Any], None]
WIDTH = 32  # of the block that is changed


def _model(change: Change) -> Any:
    model: Any = copy.deepcopy(stock("yolov8n"))
    block = model.model[2].cv2
    assert block.conv.out_channels == WIDTH
    change(block)
    return model.eval()


def _set(name: str, make: Callable[[], nn.Module]) -> Change:
    return lambda block: setattr(block, name, make())


class _Gate(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * x.mean(1, keepdim=True).sigmoid()


class _Grouped(nn.Conv2d):
    pass


class _Choosy(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.shape[1] > 20 else x


class _Tinted(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        x[:, 3] = 1.0
        return x


class _Excite(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(width, 8, 1), nn.Conv2d(8, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = self.up(self.down(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return x * gate


PROTECTED: dict[str, tuple[Change, str]] = {
    "group norm": (_set("bn", lambda: nn.GroupNorm(8, WIDTH)), "group_norm @ model.2.cv2.bn"),
    "instance norm": (
        _set("bn", lambda: nn.InstanceNorm2d(WIDTH, affine=True)),
        "instance_norm @ model.2.cv2.bn",
    ),
    "softmax over channels": (_set("act", lambda: nn.Softmax(1)), "softmax @ model.2.cv2.act"),
    "a gate from all channels": (_set("act", _Gate), "mean @ model.2.cv2.act"),
    "shuffled channels": (
        _set("act", lambda: nn.ChannelShuffle(2)),
        "channel_shuffle @ model.2.cv2.act",
    ),
    "a width as a number": (_set("act", _Choosy), "used as a number @ model.2.cv2.act"),
    "a single channel by its place": (_set("act", _Tinted), "__setitem__ @ model.2.cv2.act"),
}


@pytest.mark.parametrize("kind", PROTECTED)
def test_what_nobody_follows_keeps_its_channels_and_says_where(kind: str) -> None:
    change, named = PROTECTED[kind]
    model = _model(change)
    channels = channel_map(model)
    (part,) = [part for part in channels.frozen if part.index == 2 and part.width == WIDTH]
    assert any(why.endswith(named) for why in part.reasons), part.reasons
    assert widths_of(model)[2] == (16,)  # what the block makes within
    _assert_prunes(model)


FOLLOWED: dict[str, Change] = {
    "batch norm without scale": _set("bn", lambda: nn.BatchNorm2d(WIDTH, affine=False)),
    "convolution behind the activation": _set(
        "act", lambda: nn.Sequential(nn.SiLU(), nn.Conv2d(WIDTH, WIDTH, 1))
    ),
    "a convolution of one's own": _set("conv", lambda: _Grouped(48, WIDTH, 1)),
    "squeeze and excite": _set("act", lambda: _Excite(WIDTH)),
}


@pytest.mark.parametrize("kind", FOLLOWED)
def test_a_part_of_ones_own_is_cut_with_its_block(kind: str) -> None:
    model = _model(FOLLOWED[kind])
    assert widths_of(model)[2] == (WIDTH,)
    _assert_prunes(model)


def test_a_pool_that_mixes_channels_is_a_layer_like_any_other() -> None:
    model: Any = copy.deepcopy(stock("yolov8n"))
    model.model[9].m = nn.Conv2d(128, 128, 5, padding=2)
    _assert_prunes(model.eval())


def test_a_block_used_twice_is_cut_once_for_both() -> None:
    model: Any = copy.deepcopy(stock("yolov8n"))
    model.model[6].m[1] = model.model[6].m[0]
    _assert_prunes(model)
    model = copy.deepcopy(stock("yolov8n"))
    model.model[6].m[1].cv1.bn = model.model[6].m[0].cv1.bn
    _assert_prunes(model)


def _assert_prunes(model: Any) -> None:
    """The pruned model is the dense one whose readers ignore what went."""
    model = copy.deepcopy(model).double().eval()
    pruner, picture = Pruner(model, "l2"), torch.rand(1, 3, 64, 64, dtype=torch.float64)
    plan = uniform_plan(pruner.widths, 0.4)
    kept = select_channels(pruner.groups, plan, pruner.scores)
    blind = copy.deepcopy(model)
    modules: dict[str, Any] = dict(blind.named_modules(remove_duplicate=False))
    with torch.no_grad():
        for group in pruner.groups:
            gone = torch.ones(group.width, dtype=torch.bool)
            gone[kept[group.name]] = False
            for part in group.consumers:
                weight = getattr(modules[part.module], part.tensor).movedim(part.axis, 0)
                weight[part.offset + gone.nonzero().flatten()] = 0
        expected, got = blind(picture)[1], pruner.prune(plan)(picture)[1]
    for key in ("boxes", "scores"):
        torch.testing.assert_close(got[key], expected[key], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "make",
    [nn.ReLU, nn.Hardswish, nn.Identity, nn.PReLU, nn.Mish,
     lambda: nn.Sequential(nn.SiLU(), nn.Hardtanh())],
)  # fmt: skip
def test_what_treats_each_channel_alone_is_no_hindrance(make: Callable[[], nn.Module]) -> None:
    model = _model(_set("act", make))
    plan = uniform_plan(widths_of(model), 0.3)
    assert Pruner(model).prune(plan)(torch.rand(1, 3, 64, 64))[0].isfinite().all()


def test_the_slopes_of_a_prelu_go_with_their_channels() -> None:
    slopes = torch.linspace(-0.9, 0.9, WIDTH)

    def change(block: Any) -> None:
        block.act = nn.PReLU(WIDTH)
        block.act.weight.data.copy_(slopes)
        block.bn.running_mean.copy_(slopes)  # to tell channels by

    model = _model(change)
    pruned: Any = Pruner(model).prune(uniform_plan(widths_of(model), 0.3))
    block = pruned.model[2].cv2
    assert block.act.num_parameters == block.conv.out_channels < WIDTH
    assert torch.equal(block.act.weight, block.bn.running_mean)
    assert pruned(torch.rand(1, 3, 64, 64))[0].isfinite().all()


@pytest.mark.parametrize("looking", [False, True])
def test_a_synchronized_norm_is_cut_as_the_batch_norm_that_it_is(
    looking: bool, tmp_path: Path
) -> None:
    yolo = load_yolo(demo_checkpoint())
    data = write_detection_set(tmp_path / "set", {"train": Split(1, 2), "val": Split(2, 2)})
    more: dict[str, Any] = {"calibration": data} if looking else {}
    plain = prune_detection_model(yolo, 0.3, **more)
    yolo.model = nn.SyncBatchNorm.convert_sync_batchnorm(yolo.model)
    assert any(isinstance(part, nn.SyncBatchNorm) for part in yolo.model.modules())
    synced = prune_detection_model(yolo, 0.3, **more)
    picture = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = plain.model.eval()(picture)[0]
        torch.testing.assert_close(synced.model.eval()(picture)[0], expected)
