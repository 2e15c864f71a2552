"""`autoprune measure`: its two pages, and what it refuses."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from autoprune.cli.main import app
from autoprune.cli.measure_screen import latency_page, trust_page
from autoprune.demo.bundle import demo_checkpoint
from autoprune.latency import export, targets
from autoprune.latency.denormals import Denormals
from autoprune.latency.exported_model import ExportedModel
from autoprune.latency.fake_target import FakeTarget
from autoprune.latency.self_test import Trustworthiness
from tests.latency.tiny_models import write_onnx
from tests.search.fakes import latency


def _text(page: Any) -> str:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(page)
    return console.export_text()


def test_a_speed_that_changed_is_said_apart_from_a_busy_machine() -> None:
    calm = latency(10.0)
    busy = calm.model_copy(update={"steady": False})
    changed = calm.model_copy(update={"steady": False, "lasting_change": 0.31})
    text = _text(latency_page({"a.pt": calm, "folder/b.pt": busy, "c.onnx": changed}))
    assert "the machine is busy" in text
    assert "changed by 31%" in text
    assert "64x64 px" in text
    assert "folder" not in text


def test_the_self_test_counts_what_was_found_and_says_the_smallest_difference() -> None:
    same = [latency(ms) for ms in (9.98, 10.0, 10.02, 10.3)]  # the last one's interval misses 1
    slower = [latency(ms) for ms in (10.48, 10.5, 10.52, 10.5)]
    text = _text(
        trust_page((Trustworthiness(0.0, tuple(same)), Trustworthiness(0.05, tuple(slower))))
    )
    itself, later = (line for line in text.splitlines() if " of 4" in line)
    assert itself.split()[-6:] == ["1", "of", "4", "3", "of", "4"]
    assert "3.00%" in itself
    assert later.split()[:2] == ["5%", "+5.00%"]
    assert later.split()[-6:] == ["4", "of", "4", "4", "of", "4"]
    assert "19 times of 20 here: 3" in text
    assert "10.000 ms" in text


def test_denormal_numbers_are_told_below_the_table_with_the_files_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(_: Any, path: Path, imgsz: tuple[int, int], runtime: str) -> ExportedModel:
        path.touch()
        return ExportedModel(path, runtime, imgsz, "x", denormals=Denormals("model.3.conv", 0.123))

    monkeypatch.setattr(export, "export_model", odd)
    monkeypatch.setattr(targets, "target_from", lambda *_: FakeTarget(lambda path: 1.0))
    asked = ["measure", str(demo_checkpoint()), str(write_onnx(tmp_path / "b.onnx", 1, 192))]
    result = CliRunner().invoke(app, asked, env={"COLUMNS": "500"})
    assert result.exit_code == 0, result.output
    table, note = result.output.split("Note: ")
    assert "b.onnx" in table
    assert note.startswith(f"{demo_checkpoint().name}: 12.3% of the numbers that model.3.conv")
    assert note.endswith(".\n")


@pytest.mark.parametrize("count", [0, 2])
def test_the_self_test_takes_one_model(tmp_path: Path, count: int) -> None:
    files = [str(write_onnx(tmp_path / f"{number}.onnx", 1)) for number in range(count)]
    result = CliRunner().invoke(app, ["measure", *files, "--self-test"])
    assert result.exit_code == 2
    assert "Traceback" not in result.output
