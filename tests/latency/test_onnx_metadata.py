"""What a .onnx file says of itself, held against what Ultralytics' own exporter writes."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import onnx
import pytest
from torch import nn
from ultralytics import YOLO

from autoprune.demo.bundle import demo_checkpoint
from autoprune.latency.export import export_model
from autoprune.latency.slim_onnx import SlimmableOnnx
from tests.pruning.networks import stock

SIZE = (64, 96)
READ = ("stride", "task", "head", "batch", "imgsz", "names", "channels", "end2end")


def described(path: Path | str) -> dict[str, Any]:
    plain = {"task", "head", "description", "license", "author", "date", "version", "docs"}
    return {
        entry.key: entry.value if entry.key in plain else ast.literal_eval(entry.value)
        for entry in onnx.load(path).metadata_props
    }


@pytest.mark.filterwarnings("ignore")  # Ultralytics' own export uses torch's old ONNX exporter
@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_the_file_says_what_ultralytics_own_export_says(exporter: str, tmp_path: Path) -> None:
    yolo = YOLO(demo_checkpoint())
    yolo.save(tmp_path / "theirs.pt")
    theirs = described(YOLO(tmp_path / "theirs.pt").export(format="onnx", imgsz=list(SIZE)))
    before = {"dynamo": None, "torchscript": "dynamo"}[exporter]
    ours = described(
        export_model(yolo.model, tmp_path / "ours.onnx", SIZE, "onnxruntime", after=before).path
    )
    assert {key: ours[key] for key in READ} == {key: theirs[key] for key in READ}
    assert ours["names"][1] == yolo.names[1]
    shared = {"batch", "dynamic"}
    assert {key: ours["args"][key] for key in shared} == {
        key: theirs["args"][key] for key in shared
    }
    assert ours["args"]["opset"] == 18
    assert ours["license"] == theirs["license"]


def test_a_slimmed_file_says_the_same(tmp_path: Path) -> None:
    dense = export_model(stock("yolov8n", 2), tmp_path / "dense.onnx", SIZE, "onnxruntime").path
    slim = SlimmableOnnx(dense).write({"model.1.conv": (16, 8)}, tmp_path / "slim.onnx")
    assert described(slim) == described(dense)
    assert described(slim)["names"] == {0: "0", 1: "1"}


def test_a_module_without_class_names_is_left_without(tmp_path: Path) -> None:
    plain = export_model(nn.Conv2d(3, 4, 1), tmp_path / "plain.onnx", SIZE, "onnxruntime")
    assert described(plain.path) == {}
