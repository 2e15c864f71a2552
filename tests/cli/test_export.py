"""`autoprune export` leaves a file that plain Ultralytics predicts and validates with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result
from ultralytics import YOLO

from autoprune.cli.main import app
from autoprune.demo.bundle import demo_checkpoint
from autoprune.demo.dataset import Split, write_detection_set
from autoprune.evaluation.checkpoint import load_yolo
from autoprune.evaluation.dataset import inspect_data
from autoprune.evaluation.validate import validate
from autoprune.latency import export as export_module
from autoprune.latency.export import ExportedModel, export_model

SIDE = 192


def export(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "deep" / "best.onnx"
    said = export(demo_checkpoint(), "-o", path)
    assert said.exit_code == 0, said.output
    assert f"{SIDE}x{SIDE} px, for onnxruntime" in said.output
    assert list(path.parent.iterdir()) == [path]
    return path


def test_plain_ultralytics_validates_it_as_the_checkpoint(exported: Path, tmp_path: Path) -> None:
    splits = {"train": Split(1, 2), "val": Split(2, 24), "test": Split(3, 2)}
    data = write_detection_set(tmp_path / "set", splits)
    summary = inspect_data(data)
    stock = load_yolo(demo_checkpoint())
    expected = validate(stock.model, summary, summary.selection_images, SIDE).map50_95
    found = YOLO(exported, task="detect").val(
        data=str(data), imgsz=SIDE, project=str(tmp_path), plots=False, verbose=False, workers=0
    )  # whole val: where there is a test split, all of it selects
    assert expected > 0.5
    assert found.box.map == pytest.approx(expected, abs=1e-3)


def test_plain_ultralytics_names_what_it_sees(exported: Path) -> None:
    picture = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    (seen,) = YOLO(exported, task="detect").predict(picture, imgsz=SIDE, verbose=False)
    assert seen.names == load_yolo(demo_checkpoint()).names


def test_size_and_runtime_can_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    said = export(demo_checkpoint(), "-o", path, "--imgsz", "64x96", "--runtime", "torch")
    assert said.exit_code == 0, said.output
    assert "64x96 px, for torch" in said.output
    assert path.stat().st_size > 0


def _off_by_half(exported: ExportedModel) -> None:
    """Make the output that torch expects another one."""
    _, expected = exported.reference or (None, None)
    assert expected is not None
    np.save(expected, np.load(expected) + 0.5)


@pytest.mark.parametrize(("wrong", "code"), [(("dynamo",), 0), (("dynamo", "torchscript"), 2)])
def test_only_a_file_that_answers_as_the_model_does_is_written(
    wrong: tuple[str, ...], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"of yesterday")
    tried: list[str] = []

    def written(*asked: Any, **more: Any) -> ExportedModel:
        exported = export_model(*asked, **more)
        tried.append(exported.exporter)
        if exported.exporter in wrong:
            _off_by_half(exported)
        return exported

    monkeypatch.setattr(export_module, "export_model", written)
    said = export(demo_checkpoint(), "-o", path, "--imgsz", "64")
    assert tried == ["dynamo", "torchscript"]
    assert said.exit_code == code, said.output
    assert list(tmp_path.iterdir()) == [path]
    assert (path.read_bytes() == b"of yesterday") == bool(code)
    if code:
        assert "differs from torch" in said.output
        assert len(said.output.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "needle"),
    [
        (["missing.pt", "-o", "a.onnx"], "no such file"),
        (["missing.pt", "-o", "a.pt2"], "got 'a.pt2', expected a .onnx file for --runtime onnx"),
        (["missing.pt", "-o", "a.onnx", "--runtime", "no"], "--runtime"),
        (["missing.pt", "-o", "a.onnx", "--imgsz", "x"], "--imgsz"),
        (["missing.pt", "-o", "a.onnx", "--runtime", "onnxruntime-int8"], "--data: got None"),
        (["missing.pt", "-o", "a.onnx", "--data", "a.yaml"], "--data: got 'a.yaml', expected none"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_2(arguments: list[str], needle: str) -> None:
    said = export(*arguments)
    assert said.exit_code == 2
    assert needle in said.output
    assert len(said.output.strip().splitlines()) == 1
