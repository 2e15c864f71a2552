"""predict.py: every kind of output becomes boxes in the picture's own pixels."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from autoprune.latency.export import write_program
from autoprune.latency.options import RuntimeOptions
from autoprune.latency.runtimes import RUNTIMES
from autoprune.shipping.predicting import predict_program

OPTIONS = RuntimeOptions(runtime="onnxruntime", imgsz=(64, 96))
NAMES = ("a cat", 'a "dog"')

# A picture of 200x100 px lies in the input of 96x64 at scale 0.48, 8 px below its top.
BOX = (20, 30, 60, 50)  # x1 y1 x2 y2 in the picture
CENTRE = (40 * 0.48, 40 * 0.48 + 8, 40 * 0.48, 20 * 0.48)  # x y width height in the input
CORNERS = (20 * 0.48, 30 * 0.48 + 8, 60 * 0.48, 50 * 0.48 + 8)


def columns(*rows: tuple[float, ...]) -> np.ndarray:
    """Objects as columns, as a head without an end-to-end branch gives them."""
    return np.array([rows], np.float32).transpose(0, 2, 1)


OUTPUTS = {
    "detect": columns((*CENTRE, 0.1, 0.9), (*CENTRE, 0.1, 0.8), (*CENTRE, 0.1, 0.2)),
    "segment": columns((*CENTRE, 0.1, 0.9, 3.0, -2.0), (*CENTRE, 0.1, 0.8, 0.0, 0.0)),
    "obb": columns((*CENTRE, 0.1, 0.9, 0.0), (*CENTRE, 0.1, 0.8, 0.01)),
}
LISTS = {
    "detect": np.array([[(*CORNERS, 0.9, 1.0), (*CORNERS, 0.1, 0.0)]], np.float32),
    "pose": np.array([[(*CORNERS, 0.9, 1.0, 5.0, 5.0, 1.0)]], np.float32),
    "obb": np.array([[(*CENTRE, 0.9, 1.0, 0.0), (*CENTRE, 0.2, 1.0, 0.0)]], np.float32),
}


class Constant(nn.Module):
    """Finds the box whatever it sees; fails on an image of another precision."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 1)
        self.found = nn.Parameter(torch.from_numpy(OUTPUTS["detect"].copy()))  # not a view

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.found + 0 * self.conv(image).mean()


@pytest.mark.parametrize(
    ("task", "end_to_end"),
    [*((task, False) for task in OUTPUTS), *((task, True) for task in LISTS)],
)
def test_an_object_is_found_once_where_it_is(
    task: str,
    end_to_end: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen: list[np.ndarray] = []
    output = (LISTS if end_to_end else OUTPUTS)[task]

    class Session:
        def __init__(self, file: str, providers: list[str]) -> None:
            assert (Path(file).name, providers) == ("m.onnx", ["CPUExecutionProvider"])

        def get_inputs(self) -> list[Any]:
            return [types.SimpleNamespace(name="images")]

        def run(self, _: None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            seen.append(feed["images"])
            return [output]

    fake: Any = types.ModuleType("onnxruntime")
    fake.InferenceSession = Session
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    text = predict_program("m.onnx", OPTIONS, NAMES, task, end_to_end, 3)
    assert text is not None
    cv2.imwrite(str(tmp_path / "p.png"), np.full((100, 200, 3), (0, 0, 255), np.uint8))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["predict.py", "p.png", "none.png"])
    with pytest.raises(SystemExit) as ended:
        exec(compile(text, "predict.py", "exec"), {"__file__": str(tmp_path / "predict.py")})
    assert ended.value.code == 2
    (image,) = seen
    assert (image.shape, image.dtype) == ((1, 3, 64, 96), np.float32)
    assert image[0, :, 32, 48].tolist() == [1.0, 0.0, 0.0], "RGB, 0 to 1"
    assert image[0, 0, 0, 0] == pytest.approx(114 / 255)
    assert (tmp_path / "p-boxes.jpg").exists()
    captured = capsys.readouterr()
    assert captured.err == "none.png: got no picture that OpenCV can read\n"
    (line,) = captured.out.splitlines()
    said = line.removeprefix('p.png a "dog" 0.90 ').split()
    xs, ys = sorted({int(each) for each in said[::2]}), sorted({int(each) for each in said[1::2]})
    assert xs == pytest.approx([BOX[0], BOX[2]], abs=1)
    assert ys == pytest.approx([BOX[1], BOX[3]], abs=1)


def test_every_shipped_runtime_has_one_that_is_python() -> None:
    for row in RUNTIMES.shipped():
        options = RuntimeOptions(runtime=row.name, imgsz=(64, 64))
        text = predict_program(f"m{row.suffix}", options, NAMES, "detect", False, 3)
        assert text is not None
        compile(text, "predict.py", "exec")
        assert f"import {row.packages[0]}" in text
        assert predict_program(f"m{row.suffix}", options, NAMES, "detect", False, 1) is None


_REPORTING = {  # packages that fail where they would report
    "onnxruntime": "import os\nassert os.environ['ORT_DISABLE_TELEMETRY'] == '1', 'reports'",
    "openvino": "try:\n import openvino_telemetry\nexcept ImportError: pass\nelse: 1 / 0",
}


@pytest.mark.parametrize("name", RUNTIMES.names())
def test_it_reports_its_use_to_nobody(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = RUNTIMES.row(name, "--runtime").packages[0]
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    monkeypatch.setitem(sys.modules, "openvino_telemetry", types.ModuleType("it reports"))
    monkeypatch.setitem(sys.modules, package, types.ModuleType("of before"))
    del sys.modules[package]
    (tmp_path / f"{package}.py").write_text(_REPORTING.get(package, ""))
    monkeypatch.syspath_prepend(tmp_path)
    options = RuntimeOptions(runtime=name, imgsz=(64, 64))
    text = predict_program("m", options, NAMES, "detect", False, 3) or ""
    imports, _, _ = text.partition("\nFILE = ")
    exec(compile(imports, "predict.py", "exec"), {})
    assert Path(sys.modules[package].__file__ or "").parent == tmp_path


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"runtime": "openvino"}, '{"INFERENCE_PRECISION_HINT": "f32"}'),
        ({"runtime": "openvino", "precision": "bf16"}, '{"INFERENCE_PRECISION_HINT": "bf16"}'),
        ({"runtime": "openvino-int8"}, '{"INFERENCE_PRECISION_HINT": "f32"}'),
        ({"runtime": "torch", "precision": "bf16"}, ".module().to(torch.bfloat16)"),
        ({"runtime": "torch", "precision": "fp16", "provider": "cuda:0"}, '"cuda:0").module()'),
        ({"runtime": "tensorrt", "precision": "fp16"}, '{"trt_fp16_enable": "1"}'),
    ],
)
def test_it_computes_where_and_in_what_it_was_timed(asked: dict[str, Any], said: str) -> None:
    options = RuntimeOptions(imgsz=(64, 64), **asked)
    text = predict_program("m", options, NAMES, "detect", False, 3)
    assert text is not None
    compile(text, "predict.py", "exec")
    assert said in text


def test_the_text_for_torch_runs_in_another_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = RuntimeOptions(runtime="torch", imgsz=(64, 96), precision="bf16")
    write_program(Constant(), torch.zeros(1, 3, 64, 96), tmp_path / "m.pt2")
    text = predict_program("m.pt2", options, NAMES, "detect", False, 3)
    assert text is not None
    cv2.imwrite(str(tmp_path / "p.png"), np.full((100, 200, 3), (0, 0, 255), np.uint8))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["predict.py", "p.png"])
    exec(compile(text, "predict.py", "exec"), {"__file__": str(tmp_path / "predict.py")})
    assert capsys.readouterr().out.startswith('p.png a "dog" 0.9')
