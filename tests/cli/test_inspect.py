"""`autoprune inspect`: what is free, what stays and why, and a plan that fits."""

from __future__ import annotations

from pathlib import Path

import yaml
from typer.testing import CliRunner, Result

import autoprune
from autoprune.cli.main import app
from autoprune.demo.bundle import demo_checkpoint


def _inspect(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["inspect", *arguments], env={"COLUMNS": "200"})


def test_every_index_has_a_row_with_what_its_ratio_counts_in() -> None:
    said = _inspect(str(demo_checkpoint()))
    assert said.exit_code == 0, said.output
    rows = {line.split()[0]: line.split() for line in said.output.splitlines() if line.strip()}
    assert rows["0"][:4] == ["0", "Conv", "16", "16"]
    assert rows["10"][:4] == ["10", "Upsample", "-", "-"]
    assert rows["22"][1:4] == ["Detect", "[64,", "64]"]
    assert "the model's output boxes @ model" in said.output or "output boxes" in said.output
    assert "family yolov8" in said.output


def test_the_plan_to_fill_in_fits_the_model(tmp_path: Path) -> None:
    said = _inspect("yolo11n.yaml", "--yaml")
    assert said.exit_code == 0, said.output
    plan = yaml.safe_load(said.output)
    assert plan["prune_ratios"][11] is None
    assert plan["prune_ratios"][23] == [0.0, 0.0]
    plan["prune_ratios"][10] = 0.5
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    pruned = autoprune.prune_detection_model("yolo11n.yaml", prune_yaml=tmp_path / "plan.yaml")
    assert pruned.model.model[10].c == 64
    assert pruned.model.model[10].m[0].attn.head_dim == 32


def test_what_is_no_model_ends_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "no.pt").write_bytes(b"no")
    said = _inspect(str(tmp_path / "no.pt"))
    assert said.exit_code == 2
    assert len(said.stderr.splitlines()) == 1
