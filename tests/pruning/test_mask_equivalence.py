"""A pruned model computes what the dense one computes with the removed channels silenced.

Exact, because SiLU(0) = 0 and max-pool, upsample, concat and add keep zeros. Compared in float64 on
the inputs of Detect and on the head's raw boxes and scores. The kept channels are read off the
pruned weights, and the couplings come from the hand-typed tables: never from the engine.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cache

import pytest
import torch
from torch import nn

from autoprune.domain.plan import PruningPlan
from autoprune.pruning.prune import Pruner
from tests.pruning.architectures import INPUT, TABLES, WiredConv, uniform, wired_convs
from tests.pruning.matching import Kept, kept_channels, without_channels
from tests.pruning.networks import RATIOS, WEIGHT_CRITERIA, image, plan_like, scrambled

TOLERANCE = 1e-10  # of the largest value; float64 noise over 60 layers is near 1e-14


@dataclass(frozen=True)
class Signals:
    """What the network hands to Detect, and Detect's raw outputs."""

    levels: list[torch.Tensor]
    boxes: torch.Tensor
    scores: torch.Tensor


@torch.no_grad()
def signals(model: nn.Module) -> Signals:
    """Forward in eval mode."""
    seen: list[list[torch.Tensor]] = []
    hook = model.model[-1].register_forward_pre_hook(lambda _, args: seen.append(list(args[0])))
    try:
        _, raw = model.eval()(image())
    finally:
        hook.remove()
    return Signals(seen[0], raw["boxes"], raw["scores"])


@cache
def stock_pruner(name: str) -> Pruner:
    """Of `scrambled(name)`; as in a search, it makes all plans. Shared."""
    return Pruner(scrambled(name))


@cache
def dense_signals(name: str) -> Signals:
    """Of `scrambled(name)`, which nothing changes. Shared."""
    return signals(scrambled(name))


def error(got: torch.Tensor, reference: torch.Tensor) -> float:
    """Largest difference as a fraction of the reference's largest value."""
    assert torch.isfinite(got).all()
    assert torch.isfinite(reference).all()
    return float((got - reference).abs().max() / reference.abs().max())


def assert_equals_silenced_dense(
    name: str, dense: nn.Module, pruned: nn.Module, *, removes: bool = True
) -> dict[str, Kept]:
    """The whole proof for one pair; returns what was kept."""
    kept = kept_channels(dense, pruned)
    assert_consumers_read_what_producers_kept(wired_convs(name), dense, kept)
    silenced = copy.deepcopy(dense)
    without_channels(silenced, kept)
    expected, got = signals(silenced), signals(pruned)
    detect = TABLES[name][-1][1]
    for source, full, narrow in zip(detect, expected.levels, got.levels, strict=True):
        channels = list(kept[f"model.{source}.cv2.conv"].rows)
        gone = [i for i in range(full.shape[1]) if i not in channels]
        assert error(narrow, full[:, channels]) < TOLERANCE
        assert not full[:, gone].any()
    assert error(got.boxes, expected.boxes) < TOLERANCE
    assert error(got.scores, expected.scores) < TOLERANCE
    if removes:  # else the comparison above would prove nothing
        before = dense_signals(name) if dense is scrambled(name) else signals(dense)
        changed = max(error(before.boxes, expected.boxes), error(before.scores, expected.scores))
        assert changed > 1e-4
    return kept


def assert_consumers_read_what_producers_kept(
    convs: list[WiredConv], dense: nn.Module, kept: dict[str, Kept]
) -> None:
    """Every conv's input columns are exactly the channels its producers kept, in their order."""
    modules = dict(dense.named_modules())
    dense_width = {INPUT: 3}
    survivors: dict[tuple[str, int], list[int]] = {INPUT: [0, 1, 2]}
    assert {conv.name for conv in convs} == kept.keys()
    for conv in convs:
        columns, offset = [], 0
        for stream in conv.reads:
            columns += [offset + channel for channel in survivors[stream]]
            offset += dense_width[stream]
        assert offset == modules[conv.name].in_channels
        assert list(kept[conv.name].columns) == columns, conv.name
        if conv.entry is None:
            assert kept[conv.name].rows == tuple(range(conv.width)), conv.name
        rows, part = kept[conv.name].rows, modules[conv.name].out_channels // conv.parts
        share = len(rows) // conv.parts
        for number in range(conv.parts):
            mine = [row - number * part for row in rows[number * share : (number + 1) * share]]
            assert all(0 <= row < part for row in mine), f"{conv.name}: halves mixed"
            dense_width[conv.name, number] = part
            survivors[conv.name, number] = mine
        if conv.follows is not None:
            assert survivors[conv.name, 0] == survivors[conv.follows], conv.name


def single_indices() -> list[object]:
    """One case per prunable index, two at Detect, for every graph that differs in structure."""
    cases = []
    for name in ("yolov8n", "yolov8n-p2", "yolov8n-p6", "unusual"):
        for index, entry in uniform(name, 0.0).items():
            if isinstance(entry, tuple):
                cases.append(pytest.param(name, index, (0.4, 0.0), id=f"{name}-{index}-regression"))
                cases.append(pytest.param(name, index, (0.0, 0.4), id=f"{name}-{index}-classes"))
            elif entry is not None:
                cases.append(pytest.param(name, index, 0.4, id=f"{name}-{index}"))
    return cases


@pytest.mark.parametrize(("name", "index", "ratio"), single_indices())
def test_pruning_one_index_equals_silencing_its_channels(
    name: str, index: int, ratio: float | tuple[float, float]
) -> None:
    dense = scrambled(name)
    plan = PruningPlan({**uniform(name, 0.0), index: ratio})
    pruned = stock_pruner(name).prune(plan)
    kept = assert_equals_silenced_dense(name, dense, pruned)
    modules = dict(dense.named_modules())
    touched = {conv for conv, it in kept.items() if len(it.rows) < modules[conv].out_channels}
    assert touched == {
        conv.name
        for conv in wired_convs(name)
        if conv.index == index
        and conv.entry is not None
        and (not isinstance(ratio, tuple) or ratio[conv.entry] > 0)
    }


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        *[("yolov8n", seed) for seed in range(4)],
        *[("yolov8s", seed) for seed in range(2)],
        ("yolov8m", 0),
        *[("yolov8n-p2", seed) for seed in range(3)],
        *[("yolov8n-p6", seed) for seed in range(3)],
        *[("unusual", seed) for seed in range(3)],
    ],
)
def test_a_random_plan_equals_silencing_its_channels(name: str, seed: int) -> None:
    plan = plan_like(uniform(name, 0.0), seed, RATIOS)
    dense = scrambled(name)
    assert_equals_silenced_dense(name, dense, stock_pruner(name).prune(plan))


@pytest.mark.parametrize("importance", WEIGHT_CRITERIA)
def test_every_criterion_prunes_consistently(importance: str) -> None:
    dense = scrambled("yolov8n")
    plan = PruningPlan(uniform("yolov8n", 0.35))
    pruned = Pruner(dense, importance).prune(plan)
    assert_equals_silenced_dense("yolov8n", dense, pruned)


@pytest.mark.parametrize("name", ["yolov8n", "yolov8n-p6"])
def test_pruning_an_already_pruned_model_equals_silencing_it(name: str) -> None:
    once = Pruner(scrambled(name)).prune(PruningPlan(uniform(name, 0.3)))
    twice = Pruner(once).prune(plan_like(uniform(name, 0.0), 7, RATIOS))
    assert_equals_silenced_dense(name, once, twice)


@torch.no_grad()
def test_a_fused_model_is_pruned_like_any_other() -> None:
    dense = copy.deepcopy(scrambled("yolov8n")).fuse(verbose=False)
    pruned = Pruner(dense).prune(PruningPlan(uniform("yolov8n", 0.35)))
    assert_equals_silenced_dense("yolov8n", dense, pruned)


def test_removing_all_but_one_channel_everywhere_still_equals_the_silenced_model() -> None:
    dense = scrambled("yolov8n")
    pruned = Pruner(dense).prune(PruningPlan(uniform("yolov8n", 0.999)))
    kept = assert_equals_silenced_dense("yolov8n", dense, pruned)
    assert len(kept["model.0.conv"].rows) == 1
