"""`autoprune export` leaves a file that plain Ultralytics predicts and validates with."""

from __future__ import annotations

from pathlib import Path

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


@pytest.mark.parametrize(
    ("arguments", "needle"),
    [
        (["missing.pt", "-o", "a.onnx"], "no such file"),
        (["missing.pt", "-o", "a.pt2"], "got 'a.pt2', expected a .onnx file for --runtime onnx"),
        (["missing.pt", "-o", "a.onnx", "--runtime", "no"], "--runtime"),
        (["missing.pt", "-o", "a.onnx", "--imgsz", "x"], "--imgsz"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_2(arguments: list[str], needle: str) -> None:
    said = export(*arguments)
    assert said.exit_code == 2
    assert needle in said.output
    assert len(said.output.strip().splitlines()) == 1
