"""The geometry read off a dense model against what pruned models really are."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from torch import nn
from ultralytics.nn.modules import Attention

from autoprune.pruning.prune import Pruner
from autoprune.pruning.size import model_size
from autoprune.pruning.trace_geometry import model_geometry
from tests.families.every_model import random_plan, scrambled
from tests.pruning.architectures import uniform
from tests.pruning.networks import RATIOS, fingerprint, plan_like, stock

SIZE = (64, 128)


@pytest.mark.parametrize("name", ["yolov8n", "yolov8n-p2", "unusual"])
def test_widths_and_macs_are_those_of_the_pruned_models(name: str) -> None:
    pruner = Pruner(stock(name))
    geometry = model_geometry(pruner.model, pruner.groups, SIZE)
    plans = [plan_like(uniform(name, 0.0), seed, RATIOS) for seed in range(3)]
    kept = [pruner.signature(plan) for plan in plans]
    macs = geometry.macs(np.array(kept))
    for plan, signature, counted in zip(plans, kept, macs, strict=True):
        pruned = pruner.prune(plan)
        assert counted == model_size(pruned, SIZE).macs
        modules = dict(pruned.named_modules())
        for module, widths in geometry.conv_widths(signature).items():
            conv = modules[module]
            assert isinstance(conv, nn.Conv2d)
            assert widths == (conv.in_channels, conv.out_channels), module


@pytest.mark.parametrize("name", ["yolo11n", "yolo26n", "yolov9t", "yolo11n-seg"])
def test_depthwise_transposed_and_spare_branches_are_counted_as_they_are(name: str) -> None:
    model = scrambled(name)
    pruner = Pruner(model)
    geometry = model_geometry(model, pruner.groups, SIZE)
    kept = [pruner.signature(random_plan(pruner.widths, seed)) for seed in range(2)]
    for seed, counted in enumerate(geometry.macs(np.array(kept))):
        pruned = pruner.prune(random_plan(pruner.widths, seed))
        assert counted + attention_macs(pruned, SIZE) == model_size(pruned, SIZE).macs
    assert not any("one2one" in conv.name for conv in geometry.convs)
    assert any(conv.depthwise for conv in geometry.convs) == (name != "yolov9t")


def attention_macs(model: nn.Module, imgsz: tuple[int, int]) -> int:
    """Queries by keys and weights by values, in every attention at the largest stride."""
    pixels = imgsz[0] // 32 * imgsz[1] // 32
    found = [module for module in model.modules() if isinstance(module, Attention)]
    return sum(pixels**2 * each.num_heads * (each.key_dim + each.head_dim) for each in found)


def test_sizes_and_activations_are_those_of_the_layers() -> None:
    pruner = Pruner(stock("yolov8n"))
    geometry = model_geometry(pruner.model, pruner.groups, SIZE)
    convs = {conv.name: conv for conv in geometry.convs}
    stem, last = convs["model.0.conv"], convs["model.22.cv3.2.2"]
    assert (stem.input_size, stem.output_size) == ((64, 128), (32, 64))
    assert (stem.kernel, stem.stride, stem.fixed_in) == ((3, 3), (2, 2), 3)
    assert stem.activated
    assert (last.output_size, last.fixed_out, last.writes) == ((2, 4), 80, ())
    assert not last.activated
    assert len(convs["model.2.cv1.conv"].writes) == 2
    assert len(set(convs["model.9.cv2.conv"].reads)) == 1
    assert len(convs["model.9.cv2.conv"].reads) == 4


def test_the_digest_tells_models_and_sizes_apart() -> None:
    pruner = Pruner(stock("yolov8n"))
    known = model_geometry(pruner.model, pruner.groups, SIZE).digest
    assert model_geometry(pruner.model, pruner.groups, SIZE).digest == known
    assert model_geometry(pruner.model, pruner.groups, (128, 64)).digest != known
    fewer_classes = Pruner(stock("yolov8n", classes=3))
    other = model_geometry(fewer_classes.model, fewer_classes.groups, SIZE)
    assert other.digest != known


def test_reading_leaves_the_model_as_it_was() -> None:
    pruner = Pruner(stock("yolov8n"))
    before = fingerprint(pruner.model)
    model_geometry(pruner.model, pruner.groups, SIZE)
    assert fingerprint(pruner.model) == before
    assert not any(module._forward_hooks for module in pruner.model.modules())


def test_another_activation_is_another_geometry_for_latency() -> None:
    pruner = Pruner(stock("yolov8n"))
    usual = model_geometry(pruner.model, pruner.groups, SIZE)
    other_model = copy.deepcopy(pruner.model)
    for module in other_model.modules():
        if isinstance(getattr(module, "act", None), nn.SiLU):
            module.act = nn.ReLU()
    other = model_geometry(other_model, pruner.groups, SIZE)
    assert (usual.activation, other.activation) == ("SiLU", "ReLU")
    assert usual.digest != other.digest
