"""Parameters and multiply-accumulates against counts made without the engine."""

from __future__ import annotations

import pytest

from autoprune.domain.plan import PruningPlan
from autoprune.pruning.prune import Pruner
from autoprune.pruning.size import model_size
from tests.pruning.architectures import expected_macs, expected_widths, uniform
from tests.pruning.networks import fingerprint, stock


@pytest.mark.parametrize("name", ["yolov8n", "yolov8s", "yolov8n-p6"])
@pytest.mark.parametrize("ratio", [0.0, 0.3])
def test_params_and_macs_match_the_hand_count(name: str, ratio: float) -> None:
    ratios = uniform(name, ratio)
    pruned = Pruner(stock(name)).prune(PruningPlan(ratios))
    size = model_size(pruned, imgsz=(128, 128))
    assert size.params == sum(parameter.numel() for parameter in pruned.parameters())
    convs = expected_macs(name, expected_widths(name, ratios), 128)
    assert size.macs == pytest.approx(convs, rel=1e-3)  # the fixed DFL conv may be counted too


def test_removing_stem_channels_removes_exactly_their_macs() -> None:
    plan = PruningPlan({**uniform("yolov8n", 0.0), 0: 4.5 / 16})  # 16 -> 12
    dense = model_size(stock("yolov8n"), imgsz=(64, 64))
    pruned = model_size(Pruner(stock("yolov8n")).prune(plan), imgsz=(64, 64))
    stem = 16 * 3 * 9 * 32 * 32  # at 64 px index 0 gives 32 x 32
    next_conv = 32 * 16 * 9 * 16 * 16
    assert dense.macs - pruned.macs == (stem + next_conv) * 4 // 16
    norm_and_filters = 4 * (3 * 9 + 2) + 4 * 32 * 9
    assert dense.params - pruned.params == norm_and_filters


def test_yolov8n_at_640_px_has_the_published_gflops() -> None:
    size = model_size(stock("yolov8n"), imgsz=(640, 640))
    assert 2 * size.macs == pytest.approx(8.7e9, rel=0.02)
    assert size.params == 3_157_200  # stated in ultralytics' yolov8.yaml


def test_macs_follow_height_and_width_apart() -> None:
    square = model_size(stock("yolov8n"), imgsz=(64, 64)).macs
    assert model_size(stock("yolov8n"), imgsz=(64, 128)).macs == 2 * square
    assert model_size(stock("yolov8n"), imgsz=(128, 64)).macs == 2 * square


def test_counting_leaves_the_model_as_it_was() -> None:
    model = stock("yolov8n")
    before, flags = fingerprint(model), [module.training for module in model.modules()]
    hooks = [len(module._forward_hooks) for module in model.modules()]
    model_size(model, imgsz=(64, 64))
    assert fingerprint(model) == before
    assert [module.training for module in model.modules()] == flags
    assert [len(module._forward_hooks) for module in model.modules()] == hooks
