"""`autoprune prune` says how it chose, and refuses in one line what it cannot do."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from autoprune import api
from autoprune.cli.main import app
from autoprune.demo.bundle import demo_checkpoint
from autoprune.demo.dataset import Split, write_detection_set
from autoprune.domain.plan import PruningPlan
from autoprune.evaluation.checkpoint import load_yolo
from autoprune.evaluation.inside.trainer import KeepShapeTrainer
from autoprune.evaluation.regrowth_guard import sealed_info


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    return write_detection_set(folder, {"train": Split(1, 4), "val": Split(2, 2)})


def prune(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["prune", *map(str, arguments)])


def test_without_images_the_output_names_the_simple_criterion(tmp_path: Path) -> None:
    said = prune(demo_checkpoint(), "--ratio", "0.5", "-o", tmp_path / "small.pt")
    assert said.exit_code == 0
    assert "channels ranked by l2_bn, not compensated" in said.output


def test_with_images_it_names_the_criterion_and_the_images(data: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.pt"
    files = (demo_checkpoint(), "-o", small, "--calibration", data)
    said = prune(*files, "--ratio", "0.5")
    assert said.exit_code == 0
    assert f"ranked by obs, compensated (up to 256 training images of {data})" in said.output
    ranked = prune(*files, "--ratio", "0.5", "--no-compensate")
    assert "ranked by obs, not compensated" in ranked.output


@pytest.mark.parametrize(
    ("flags", "needle"),
    [
        (["--compensate"], "compensate needs images"),
        (["--importance", "obs"], "importance obs needs images"),
        (["--calibration", "DATA"], "got '8 classes', expected the model's 80"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_2(
    flags: list[str], needle: str, data: Path, tmp_path: Path
) -> None:
    flags = [str(data) if flag == "DATA" else flag for flag in flags]
    said = prune("yolov8n.yaml", "--ratio", "0.5", "-o", tmp_path / "small.pt", *flags)
    assert said.exit_code == 2
    assert needle in said.output
    assert len(said.output.strip().splitlines()) == 1
    assert not (tmp_path / "small.pt").exists()


def test_images_of_other_classes_do_not_stop_who_needs_none(data: Path, tmp_path: Path) -> None:
    flags = ("--importance", "l2_bn", "--no-compensate", "--calibration", data)
    said = prune("yolov8n.yaml", "--ratio", "0.5", "-o", tmp_path / "small.pt", *flags)
    assert said.exit_code == 0
    assert "ranked by l2_bn, not compensated" in said.output


def test_an_error_of_torch_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("Parent directory does not exist.\nsecond line")

    monkeypatch.setattr(api, "measure", broken)
    monkeypatch.delenv("AUTOPRUNE_TRACEBACK", raising=False)
    said = CliRunner().invoke(app, ["measure", str(demo_checkpoint())])
    assert said.exit_code == 5
    assert "RuntimeError while running measure: Parent directory does not exist. second line" in (
        said.output
    )
    monkeypatch.setenv("AUTOPRUNE_TRACEBACK", "1")
    said = CliRunner().invoke(app, ["measure", str(demo_checkpoint())])
    assert said.exit_code == 5
    assert "Traceback" in said.output


def test_an_interrupted_fine_tune_goes_on_and_leaves_only_the_model(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, training = tmp_path / "small.pt", tmp_path / "small.training"
    files = (demo_checkpoint(), "-o", small, "--data", data, "--ratio", "0.5")
    files += ("--importance", "l2", "--no-compensate")
    settings = ("epochs=2", "imgsz=64", "batch=4", "workers=0", "device=cpu")
    saved = KeepShapeTrainer.save_model

    def interrupt(trainer: KeepShapeTrainer) -> bool:
        saved(trainer)
        raise KeyboardInterrupt

    monkeypatch.setattr(KeepShapeTrainer, "save_model", interrupt)
    assert prune(*files, *settings).exit_code == 130
    assert not small.exists()
    monkeypatch.undo()
    other = prune(*files, "epochs=3", *settings[1:])
    assert other.exit_code == 2
    assert "epochs: 2 -> 3" in other.output
    said = prune(*files, *settings)
    assert said.exit_code == 0
    assert f"Going on with the fine-tune that was interrupted: {training}" in said.output
    assert "epoch 2 of 2: mAP50-95 0." in said.output
    assert "epoch 1 of 2" not in said.output
    assert small.exists()
    assert not training.exists()


def test_a_file_in_single_precision_and_odd_images_are_told(data: Path, tmp_path: Path) -> None:
    odd = load_yolo(demo_checkpoint())
    odd.model.model[0].bn.bias.data[0] = 1e5
    torch.save({"model": odd.model, "train_args": {"imgsz": 64}}, tmp_path / "odd.pt")
    said = prune(tmp_path / "odd.pt", "--ratio", "0.3", "-o", tmp_path / "small.pt")
    assert said.exit_code == 0
    assert "Saved with float32: half precision cannot hold its numbers." in said.output
    spoiled = tmp_path / "set"
    shutil.copytree(data.parent, spoiled)
    sorted((spoiled / "labels" / "train").iterdir())[0].write_text("0 2 2 2 2\n")
    files = (demo_checkpoint(), "--ratio", "0.3", "-o", tmp_path / "small.pt")
    asked = (*files, "--calibration", spoiled / data.name)
    assert prune(*asked).exit_code == 2
    said = prune(*asked, "--allow-broken", "30")
    assert said.exit_code == 0
    assert "Note: train: 1 of 4 images are broken and left out" in said.output
    sorted((spoiled / "labels" / "train").iterdir())[0].write_text("")
    said = prune(*asked, "--allow-unlabelled", "10")
    assert said.exit_code == 2
    assert "(--allow-unlabelled 26 if they show no object)" in said.output


def test_where_nothing_can_be_written_is_found_before_any_work(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begun(*_: Any, **__: Any) -> None:
        raise AssertionError("the work has begun")

    monkeypatch.setattr(api, "prune_detection_model", begun)
    (tmp_path / "file").write_text("")
    for output in (tmp_path / f"{'x' * 300}.pt", tmp_path / "file" / "small.pt"):
        said = prune(demo_checkpoint(), "--ratio", "0.3", "-o", output)
        assert said.exit_code == 2
        assert str(output.parent) in said.output
        assert len(said.output.strip().splitlines()) == 1


def test_a_plan_for_another_model_is_refused_unless_it_is_insisted_on(tmp_path: Path) -> None:
    asked = (demo_checkpoint(), "--ratio", "0.3", "-o", tmp_path / "small.pt")
    assert prune(*asked).exit_code == 0
    plan = PruningPlan.from_mapping(sealed_info(api.load(tmp_path / "small.pt").model)["plan"])
    replace(plan, base="0123456789abcdef").save(tmp_path / "plan.yaml")
    again = (demo_checkpoint(), "--plan", tmp_path / "plan.yaml", "-o", tmp_path / "other.pt")
    said = prune(*again)
    assert said.exit_code == 2
    assert "plan.yaml: base: got '0123456789abcdef', expected the model's own" in said.output
    assert not (tmp_path / "other.pt").exists()
    assert prune(*again, "--any-base").exit_code == 0
