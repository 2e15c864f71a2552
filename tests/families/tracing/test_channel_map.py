"""The engine finds the groups of YOLOv8 that were once written by hand; and what it freezes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from ultralytics.nn.modules import C2f
from ultralytics.nn.tasks import DetectionModel

from autoprune.domain.plan import PruningPlan
from autoprune.errors import UnsupportedModel
from autoprune.families.tracing.channel_map import channel_map
from autoprune.pruning.groups import AxisSlice, ChannelGroup
from autoprune.pruning.prune import Pruner, uniform_plan, widths_of
from autoprune.pruning.selection import kept_counts
from tests.families import walk
from tests.pruning.architectures import TABLES, TOWERS
from tests.pruning.networks import stock


@pytest.mark.parametrize("name", sorted(TABLES))
def test_groups_of_yolov8_are_those_of_the_walk_over_its_layers(name: str) -> None:
    """Name, order, multiplicity and places: plans and studies stay what they were."""

    def places(slices: tuple[AxisSlice, ...], suffix: str = "") -> list[tuple[str, int]]:
        return [(each.module + suffix, each.offset) for each in slices]

    def facts(group: ChannelGroup, suffix: str = "") -> tuple[Any, ...]:
        made, read = places(group.producers, suffix), places(group.consumers)
        return group.name, group.index, group.entry, group.width, made, sorted(read)

    found = channel_map(stock(name)).groups
    expected = walk.channel_groups(stock(name))
    assert [facts(group) for group in found] == [facts(group, ".conv") for group in expected]


@pytest.mark.parametrize("name", sorted(TABLES))
def test_indices_and_widths_are_those_of_the_stock_model(name: str) -> None:
    expected: dict[int, tuple[int, ...]] = {}
    for index, row in enumerate(TABLES[name]):
        if row[0] == "Detect":
            expected[index] = TOWERS[name]
        else:
            expected[index] = () if row[0] in ("Upsample", "Concat") else (row[2],)
    assert widths_of(stock(name)) == expected


def test_what_nothing_reads_stays() -> None:
    recipe = DetectionModel("yolov8n.yaml", verbose=False).yaml
    recipe["head"][-1][0] = [15, 18]  # the large objects' branch stays without a reader
    loose = channel_map(DetectionModel(recipe, verbose=False))
    assert {part.name for part in loose.frozen if part.index == 21} == {"21.cv2"}
    assert {group.name for group in loose.groups if group.index == 21} >= {"21.cv1.a", "21.m.0.cv1"}


def test_a_grouped_convolution_keeps_what_it_reads_and_makes() -> None:
    model: Any = copy.deepcopy(stock("yolov8n"))
    conv = model.model[3].conv
    model.model[3].conv = nn.Conv2d(conv.in_channels, conv.out_channels, 3, 2, 1, groups=2)
    channels = channel_map(model.eval())
    reasons = {part.name: part.reasons for part in channels.frozen}
    assert "read by a grouped convolution @ model.3.conv" in reasons["2.cv2"]
    assert widths_of(model)[3] == ()
    pruned = Pruner(model).prune(uniform_plan(widths_of(model), 0.5))
    assert pruned(torch.rand(1, 3, 64, 64))[0].isfinite().all()


def test_attentions_heads_go_in_step_with_what_they_are_added_to() -> None:
    """C2PSA of yolo11n: two halves of 128 channels, two heads of 64 values; q and k stay."""
    channels = channel_map(DetectionModel("yolo11n.yaml", verbose=False))
    tied = [group for group in channels.groups if group.cluster == "10.cv1.a"]
    assert [(group.name, group.width, group.step) for group in tied] == [
        ("10.cv1.a", 128, 2),
        ("10.cv1.b", 128, 2),
        ("10.m.0.attn.qkv.b", 64, 1),
        ("10.m.0.attn.qkv.d", 64, 1),
    ]
    stay = [part for part in channels.frozen if part.index == 10]
    assert [(part.name, part.width) for part in stay] == [
        ("10.m.0.attn.qkv.a", 32),
        ("10.m.0.attn.qkv.c", 32),
    ]
    counted = {(size.module, size.name) for size in channels.sizes if "model.10" in size.module}
    assert counted == {("model.10", "c"), ("model.10.m.0.attn", "head_dim")}


def test_a_head_of_a_task_has_a_third_entry_and_both_branches_share_theirs() -> None:
    recipe = "yolo26n-seg.yaml"
    from ultralytics.nn.tasks import SegmentationModel

    channels = channel_map(SegmentationModel(recipe, verbose=False))
    last = max(group.index for group in channels.groups)
    entry = {
        group.name.removeprefix(f"{last}.").split(".")[0]: group.entry
        for group in channels.groups
        if group.index == last
    }
    assert entry.items() >= {
        "cv2": 0, "one2one_cv2": 0, "cv3": 1, "one2one_cv3": 1, "cv4": 2, "one2one_cv4": 2,
        "proto": 2,
    }.items()  # fmt: skip


def test_a_forward_pass_that_cannot_be_run_without_values_is_refused_with_its_place() -> None:
    class Picky(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if float(x.sum()) > 0 else -x

    model: Any = copy.deepcopy(stock("yolov8n"))
    model.model[2].cv2.act = Picky()
    with pytest.raises(UnsupportedModel, match=r"^model\.2\.cv2\.act: its forward pass cannot"):
        channel_map(model)


def test_a_model_of_which_nothing_can_go_is_refused() -> None:
    model: Any = copy.deepcopy(stock("yolov8n"))
    for module in model.modules():
        if isinstance(getattr(module, "act", None), nn.SiLU):
            module.act = nn.Softmax(1)
    with pytest.raises(UnsupportedModel, match="none of its channels can be removed"):
        channel_map(model)


def test_the_norm_behind_a_convolution_is_found_whatever_it_is_called() -> None:
    model: Any = copy.deepcopy(stock("yolov8n"))
    model.model[2].cv2.act = nn.Sequential(
        nn.SiLU(), nn.Conv2d(32, 32, 1, bias=False), nn.BatchNorm2d(32), nn.SiLU()
    )
    groups = {group.name: group for group in channel_map(model).groups}
    (stem,) = groups["0"].producers
    assert (stem.module, stem.norm) == ("model.0.conv", "model.0.bn")
    (own,) = groups["2.cv2.act.1"].producers
    assert own.norm == "model.2.cv2.act.2"
    assert all(part.norm.endswith(".bn") for part in groups["9.cv1"].consumers)
    fused: Any = copy.deepcopy(stock("yolov8n")).fuse(verbose=False)
    assert all(part.norm == "" for group in channel_map(fused).groups for part in group.producers)


def test_a_cluster_keeps_the_most_that_any_of_its_groups_would() -> None:
    def group(name: str, index: int, width: int, step: int) -> ChannelGroup:
        return ChannelGroup(name, index, 0, width, (), (), step=step, cluster="a")

    groups = [group("a", 0, 16, 2), group("b", 1, 8, 1), ChannelGroup("c", 2, 0, 8, (), ())]
    for ratios in ({0: 0.75, 1: 0.25, 2: 0.5}, {0: 0.25, 1: 0.75, 2: 0.5}):
        assert kept_counts(groups, PruningPlan(ratios)) == (12, 6, 4)


def test_a_block_that_overrides_its_forward_is_followed_as_it_runs() -> None:
    class Shuffled(C2f):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).softmax(1)

    model: Any = copy.deepcopy(stock("yolov8n"))
    model.model[4].__class__ = Shuffled
    (output,) = [part for part in channel_map(model).frozen if part.name == "4.cv2"]
    assert output.reasons == ("nothing is known of softmax @ model.4",)
