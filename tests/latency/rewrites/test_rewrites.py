"""Whole detectors rewritten: the same numbers, from a graph without what was slow."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from torch import nn
from ultralytics.utils import ASSETS

from autoprune.demo.bundle import demo_checkpoint
from autoprune.evaluation.checkpoint import load_yolo
from autoprune.latency.export import export_model, folded
from autoprune.latency.rewrites import REWRITES, Rewrite, rewrite_in_place
from autoprune.pruning.prune import Pruner
from tests.latency.rewrites.layers import Adding, Block, InFour, rewritten_layers
from tests.pruning.architectures import uniform
from tests.pruning.networks import image, plan_like, scrambled, stock

CHOICES = {**{row.name: (row,) for row in REWRITES}, "all": REWRITES}


def pruned() -> nn.Module:
    plan = plan_like(uniform("yolov8n", 0.0), 3, (0.1, 0.25, 0.4, 0.6))
    return Pruner(scrambled("yolov8n")).prune(plan)


def detector(name: str) -> nn.Module:
    if name == "one class":
        return stock("yolov8n", classes=1)
    return pruned() if name == "pruned" else scrambled(name)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize(
    "name", ["yolov8n", "yolov8n-p2", "yolov8n-p6", "unusual", "pruned", "one class"]
)
def test_a_rewritten_detector_gives_the_same_boxes_and_scores(name: str, choice: str) -> None:
    plain = folded(detector(name)).double()
    better = rewrite_in_place(copy.deepcopy(plain), CHOICES[choice])
    made = rewritten_layers(better)
    assert made["dfl"] == (choice in ("dfl", "all"))
    assert (made["halved"] >= 5) == (choice in ("halved", "all"))
    joined = choice in ("late upsample", "all") and name != "unusual"  # which joins three maps
    assert (made["late upsample"] >= 2) == joined
    side = 128 if name.endswith("p6") else 64
    torch.testing.assert_close(
        better(image(side=side)), plain(image(side=side)), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("sharper", [1, 30, 1e4])
def test_a_trained_detector_sees_the_same_on_photographs(sharper: float, choice: str) -> None:
    plain = folded(load_yolo(demo_checkpoint()).model)
    for tower in plain.model[-1].cv2:  # larger logits: one bin takes all
        tower[-1].weight.mul_(sharper)
    better = rewrite_in_place(copy.deepcopy(plain), CHOICES[choice])
    exact = copy.deepcopy(plain).double()
    for photo in sorted(Path(ASSETS).glob("*.jpg")):
        pixels = cv2.resize(cv2.imread(str(photo)), (192, 192))[..., ::-1] / np.float32(255)
        given = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]
        expected, found = plain(given), better(given)
        assert expected.isfinite().all()
        assert (found - expected)[:, 4:].abs().max() < 1e-5
        boxes, stock = found[:, :4], expected[:, :4]
        if sharper == 1:
            assert (boxes - stock).abs().max() < 1e-3
        else:  # rounding far before the head is made larger too, also in the stock layers
            true = exact(given.double())[:, :4]
            assert (boxes - true).abs().max() < max(1e-3, 10 * (stock - true).abs().max())


@pytest.mark.parametrize("name", ["yolov8n", "unusual", "pruned"])
@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_no_exporter_leaves_a_softmax_or_splits_a_convolutions_output(
    name: str, exporter: str, tmp_path: Path
) -> None:
    before = {"dynamo": None, "torchscript": "dynamo"}[exporter]
    path = tmp_path / "model.onnx"
    exported = export_model(detector(name), path, (64, 64), "onnxruntime", after=before)
    assert exported.exporter == exporter
    nodes = onnx.load(path).graph.node
    made_by = {output: node for node in nodes for output in node.output}
    kinds = {node.op_type for node in nodes}
    assert "Softmax" not in kinds
    activations = {"Mul", "Sigmoid", "Conv"}
    for node in nodes:
        if node.op_type in {"Split", "Slice"}:
            source = made_by.get(node.input[0])
            assert source is None or source.op_type not in activations, node.name


def test_the_reference_output_is_the_stock_models_own(tmp_path: Path) -> None:
    """So that the measuring process holds the rewritten file against what was not rewritten."""
    exported = export_model(pruned(), tmp_path / "model.onnx", (64, 64), "onnxruntime")
    given, expected = (torch.from_numpy(np.load(each)) for each in exported.reference)
    assert torch.equal(folded(pruned())(given), expected)
    assert not torch.equal(rewrite_in_place(folded(pruned()))(given), expected)


def test_where_the_rewrites_are_slower_the_stock_layers_are_exported(tmp_path: Path) -> None:
    """Under torch, halves cost 1 to 3 % at small sizes."""
    exported = export_model(pruned(), tmp_path / "model.pt2", (64, 64), "torch")
    program = torch.export.load(exported.path)
    assert any("softmax" in str(node.target) for node in program.graph.nodes)
    assert not any("half0" in name or "columns" in name for name in program.state_dict)


@pytest.mark.parametrize(
    "block",
    [
        lambda: Adding(4, nn.SiLU()),
        lambda: InFour(4, nn.SiLU()),
        lambda: Block(4, nn.PReLU(8)),
        lambda: Block(4, nn.Softmax(1)),
    ],
    ids=["reads it whole", "quarters it", "one slope a channel", "mixes channels"],
)
def test_a_users_block_that_only_looks_alike_stays(block: Callable[[], nn.Module]) -> None:
    model = nn.Sequential(block()).eval()
    if isinstance(model[0].cv1.act, nn.PReLU):
        nn.init.uniform_(model[0].cv1.act.weight)
    kept = model[0]
    rewrite_in_place(model)
    assert model[0] is kept
    like = nn.Sequential(Block(4, nn.SiLU()))
    assert rewritten_layers(rewrite_in_place(like))["halved"] == 1


@pytest.mark.parametrize(
    "other", [nn.Softplus(), nn.Sequential(nn.ReLU(), nn.Unflatten(0, (1, 1)))]
)
def test_a_replacement_with_other_numbers_or_another_shape_is_not_taken(other: nn.Module) -> None:
    wrong = Rewrite("wrong", "Differs.", lambda layer: other, lambda layer: ((1, 2),))
    model = nn.Sequential(nn.ReLU())
    assert isinstance(rewrite_in_place(model, (wrong,))[0], nn.ReLU)


def test_rewriting_draws_nothing_from_the_callers_random_numbers() -> None:
    plain = folded(stock("yolov8n", classes=1))
    state = torch.get_rng_state()
    rewrite_in_place(plain)
    assert torch.equal(torch.get_rng_state(), state)
