"""Edited files have the shapes that pruning and exporting would have given."""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from functools import cache

import numpy as np
import onnx
import pytest
from torch import nn
from ultralytics.nn.tasks import DetectionModel

from autoprune.evaluation.inside.stock import stock_model
from autoprune.latency.export import export_model
from autoprune.latency.slim_onnx import SlimmableOnnx
from autoprune.pruning.prune import Pruner
from autoprune.pruning.trace_geometry import model_geometry
from tests.families.every_model import random_plan
from tests.pruning.architectures import uniform
from tests.pruning.networks import plan_like, scrambled, stock

SIZE = (64, 64)


@cache
def _yolov8n():
    """With biases, and another activation behind each of the two coarse maps."""
    model = copy.deepcopy(scrambled("yolov8n"))
    model.model[9].cv2.act, model.model[12].cv2.act = nn.ReLU6(), nn.Mish()
    return model


@pytest.fixture(scope="module")
def dense_yolov8n(tmp_path_factory):
    path = tmp_path_factory.mktemp("yolov8n") / "dense.onnx"
    return export_model(_yolov8n(), path, SIZE, "onnxruntime")


def _operations(path):
    """Operators with the shapes of everything they read and write, constants included."""
    model = onnx.shape_inference.infer_shapes(onnx.load(path), check_type=True, strict_mode=True)
    graph = model.graph
    onnx.checker.check_model(model)
    shapes = {each.name: tuple(each.dims) for each in graph.initializer}
    for each in [*graph.value_info, *graph.input, *graph.output]:
        sides = each.type.tensor_type.shape.dim
        shapes[each.name] = tuple(side.dim_value or side.dim_param for side in sides)
    return Counter(
        (node.op_type, tuple(shapes[name] for name in (*node.input, *node.output) if name))
        for node in graph.node
    )


def _unusual():
    model = copy.deepcopy(stock("unusual", classes=2))  # it has a C2
    activations = itertools.cycle((nn.SiLU, nn.ReLU6, nn.Mish))
    for module in model.modules():
        if isinstance(getattr(module, "act", None), nn.SiLU):
            module.act = next(activations)()
    model.model[7].cv2.act = nn.SiLU()  # behind its coarse map: the others are in `_yolov8n`
    return model


def test_other_layers_and_activations_can_be_cut_too(tmp_path):
    pruner = Pruner(_unusual())
    plan = plan_like(uniform("unusual", 0.0), 3, (0.1, 0.25, 0.4, 0.6))
    dense = export_model(pruner.model, tmp_path / "dense.onnx", SIZE, "onnxruntime")
    pruned = export_model(pruner.prune(plan), tmp_path / "pruned.onnx", SIZE, "onnxruntime")
    geometry = model_geometry(pruner.model, pruner.groups, SIZE)
    widths = geometry.conv_widths(pruner.signature(plan))
    edited = SlimmableOnnx(dense.path).write(widths, tmp_path / "edited.onnx")
    assert _operations(edited) == _operations(pruned.path)


def test_an_edited_file_has_every_shape_of_the_exported_pruned_model(dense_yolov8n, tmp_path):
    dense, pruner = dense_yolov8n, Pruner(_yolov8n())
    plan = plan_like(uniform("yolov8n", 0.0), 3, (0.1, 0.25, 0.4, 0.6))
    pruned = export_model(pruner.prune(plan), tmp_path / "pruned.onnx", SIZE, "onnxruntime")
    geometry = model_geometry(pruner.model, pruner.groups, SIZE)
    slimmable = SlimmableOnnx(dense.path)
    edited = slimmable.write(
        geometry.conv_widths(pruner.signature(plan)), tmp_path / "new" / "edited.onnx"
    )
    assert _operations(edited) == _operations(pruned.path)
    assert slimmable.covers(conv.name for conv in geometry.convs)
    again = slimmable.write(geometry.conv_widths(geometry.widths), tmp_path / "again.onnx")
    assert _operations(again) == _operations(dense.path)
    with pytest.raises(KeyError):
        slimmable.write({"model.0.convolution": (3, 8)}, tmp_path / "wrong.onnx")


def test_each_half_of_a_halved_convolution_keeps_half_of_the_width_asked_for(
    dense_yolov8n, tmp_path
):
    dense = dense_yolov8n
    slimmable = SlimmableOnnx(dense.path)
    assert slimmable.covers(["model.2.cv1.conv"])
    assert not slimmable.covers(["model.2.cv3.conv"])
    slim = slimmable.write({"model.2.cv1.conv": (32, 12)}, tmp_path / "slim.onnx")
    before, after = (
        {each.name: onnx.numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer}
        for path in (dense.path, slim)
    )
    for half in ("model.2.cv1.half0.conv", "model.2.cv1.half1.conv"):
        for part in (f"{half}.weight", f"{half}.bias"):
            assert len(before[part]) == 16
            assert np.array_equal(after[part], before[part][:6])


def test_a_convolution_in_columns_keeps_the_width_of_its_coarse_map(dense_yolov8n, tmp_path):
    slimmable = SlimmableOnnx(dense_yolov8n.path)
    joined, coarse = "model.12.cv1.conv", "model.9.cv2.conv"  # 256 channels from SPPF, 128 finer
    for widths, columns in (({}, (256, 128)), ({coarse: (512, 200)}, (200, 128))):
        slim = slimmable.write(widths | {joined: (sum(columns), 24)}, tmp_path / "slim.onnx")
        shapes = {each.name: tuple(each.dims) for each in onnx.load(slim).graph.initializer}
        for half in ("half0", "half1"):
            for part, width in zip(("coarse_columns", "fine_columns"), columns, strict=True):
                assert shapes[f"model.12.cv1.{half}.{part}.weight"] == (12, width, 1, 1)


def _model(*rows, read):
    """Of rows as in an Ultralytics model YAML, and a Detect that reads some of them."""
    detect = [read, 1, "Detect", ["nc"]]
    recipe = {"nc": 2, "backbone": [list(row) for row in rows], "head": [detect]}
    return DetectionModel(recipe, nc=2, verbose=False).eval()


def test_a_coarse_map_of_unknown_width_is_not_covered(tmp_path):
    up = (-1, 1, "nn.Upsample", [None, 2, "nearest"])
    convs = [(-1, 1, "Conv", [width, 3, 2]) for width in (16, 32, 48)]
    first = (up, ([-1, 1], 1, "Concat", [1]), (-1, 1, "C2f", [32]))
    second = (up, ([-1, 0], 1, "Concat", [1]), (-1, 1, "C2f", [16]))
    model = _model(*convs, *first, *second, read=[8, 2])
    model.model[2].act = nn.Softmax(1)  # what writes the map cannot be told through it
    dense = export_model(model, tmp_path / "dense.onnx", SIZE, "onnxruntime")
    slimmable = SlimmableOnnx(dense.path)
    assert not slimmable.covers(["model.5.cv1.conv"])
    assert slimmable.covers(["model.8.cv1.conv", "model.2.conv"])


@pytest.mark.parametrize(
    ("name", "end_to_end"),
    [
        ("yolo11n", False),
        ("yolo26n-pose", True),
        ("yolov6n", False),
    ],
)
def test_other_families_files_have_every_shape_of_the_exported_pruned_model(
    tmp_path, name, end_to_end
):
    """Attention, depthwise and transposed convolutions; either branch of an end-to-end head."""
    model = stock_model(f"{name}.yaml", channels=3, classes=2)
    model.model[-1].end2end = end_to_end
    pruner = Pruner(model)
    geometry = model_geometry(pruner.model, pruner.groups, SIZE)
    plan = random_plan(pruner.widths, 4)
    dense = export_model(pruner.model, tmp_path / "dense.onnx", SIZE, "onnxruntime")
    pruned = export_model(pruner.prune(plan), tmp_path / "pruned.onnx", SIZE, "onnxruntime")
    slimmable = SlimmableOnnx(dense.path)
    assert slimmable.covers(conv.name for conv in geometry.convs)
    widths = geometry.conv_widths(pruner.signature(plan))
    assert _operations(slimmable.write(widths, tmp_path / "slim.onnx")) == _operations(pruned.path)


def test_an_attention_of_another_kind_is_not_covered(tmp_path):
    """YOLO12's."""
    convs = [(-1, 1, "Conv", [width, 3, 2]) for width in (16, 64)]
    model = _model(*convs, (-1, 1, "A2C2f", [64, True, 4]), read=[2])
    dense = export_model(model, tmp_path / "dense.onnx", SIZE, "onnxruntime")
    assert not SlimmableOnnx(dense.path).covers(["model.0.conv"])
