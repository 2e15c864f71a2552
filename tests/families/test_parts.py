"""A part of a block whose channels nobody follows is refused; what is like a known one is cut."""

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
from autoprune.errors import UnsupportedModel
from autoprune.evaluation.checkpoint import load_yolo
from autoprune.families import family_of
from autoprune.pruning.prune import Pruner, uniform_plan
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


REFUSED: dict[str, tuple[Change, str]] = {
    "group norm": (_set("bn", lambda: nn.GroupNorm(8, WIDTH)), "GroupNorm"),
    "instance norm": (_set("bn", lambda: nn.InstanceNorm2d(WIDTH, affine=True)), "InstanceNorm2d"),
    "batch norm without scale": (
        _set("bn", lambda: nn.BatchNorm2d(WIDTH, affine=False)),
        "BatchNorm2d",
    ),
    "convolution behind the activation": (
        _set("act", lambda: nn.Sequential(nn.SiLU(), nn.Conv2d(WIDTH, WIDTH, 1))),
        "Sequential",
    ),
    "softmax over channels": (_set("act", lambda: nn.Softmax(1)), "Softmax"),
    "a gate from all channels": (_set("act", _Gate), "_Gate"),
    "shuffled channels": (_set("act", lambda: nn.ChannelShuffle(2)), "ChannelShuffle"),
    "slopes of another width": (_set("act", lambda: nn.PReLU(7)), "PReLU"),
    "a convolution of one's own": (_set("conv", lambda: _Grouped(48, WIDTH, 1)), "_Grouped"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_ties_channels_together_unseen_is_refused_by_index_and_class(kind: str) -> None:
    change, named = REFUSED[kind]
    model = _model(change)
    with pytest.raises(UnsupportedModel, match=rf"layer 2: model\.2\.cv2\.\w+: got {named}, exp"):
        family_of(model)


def test_a_pool_that_mixes_channels_is_refused() -> None:
    model: Any = copy.deepcopy(stock("yolov8n"))
    model.model[9].m = nn.Conv2d(128, 128, 5, padding=2)
    with pytest.raises(UnsupportedModel, match=r"layer 9: model\.9\.m: got Conv2d"):
        family_of(model)


def test_a_block_used_twice_is_refused() -> None:
    model: Any = copy.deepcopy(stock("yolov8n"))
    model.model[6].m[1] = model.model[6].m[0]
    with pytest.raises(UnsupportedModel, match=r"layer 6: .*m\.1\.cv1: got Conv of .*m\.0\.cv1 on"):
        family_of(model)
    model = copy.deepcopy(stock("yolov8n"))
    model.model[6].m[1].cv1.bn = model.model[6].m[0].cv1.bn
    with pytest.raises(UnsupportedModel, match=r"layer 6: .*got BatchNorm2d of"):
        family_of(model)


@pytest.mark.parametrize(
    "make",
    [nn.ReLU, nn.Hardswish, nn.Identity, nn.PReLU, nn.Mish,
     lambda: nn.Sequential(nn.SiLU(), nn.Hardtanh())],
)  # fmt: skip
def test_what_treats_each_channel_alone_is_no_hindrance(make: Callable[[], nn.Module]) -> None:
    model = _model(_set("act", make))
    plan = uniform_plan(family_of(model).widths(model), 0.3)
    assert Pruner(model).prune(plan)(torch.rand(1, 3, 64, 64))[0].isfinite().all()


def test_the_slopes_of_a_prelu_go_with_their_channels() -> None:
    slopes = torch.linspace(-0.9, 0.9, WIDTH)

    def change(block: Any) -> None:
        block.act = nn.PReLU(WIDTH)
        block.act.weight.data.copy_(slopes)
        block.bn.running_mean.copy_(slopes)  # to tell channels by

    model = _model(change)
    pruned: Any = Pruner(model).prune(uniform_plan(family_of(model).widths(model), 0.3))
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
