"""`autoprune apply`: a study's plan becomes a bundle, killed on the way or not."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result
from ultralytics import YOLO

from autoprune.api import pruning as api_pruning
from autoprune.cli.main import app
from autoprune.demo.bundle import demo_checkpoint
from autoprune.demo.dataset import Split, write_detection_set
from autoprune.domain.card import ModelCard
from autoprune.domain.plan import PruningPlan
from autoprune.domain.schema import stamped
from autoprune.evaluation.checkpoint import load_yolo, model_hash
from autoprune.evaluation.inside.trainer import conv_shapes
from autoprune.latency import export as export_module
from autoprune.latency.fake_target import FakeTarget
from autoprune.latency.targets import SSH_VARIABLE
from autoprune.pruning.prune import uniform_plan, widths_of
from autoprune.shipping import ready as ready_module
from autoprune.shipping import steps
from autoprune.storage.yaml_io import dump_yaml
from tests.latency.sshd import running_sshd

QUICK = ("epochs=1", "imgsz=64", "batch=4", "workers=0", "device=cpu", "optimizer=SGD", "lr0=1e-6")


@dataclass
class Made:
    """A bundle, made in two runs of which the first was killed."""

    folder: Path
    study: Path
    data: Path
    said: list[Result] = field(default_factory=list)
    pruned: int = 0
    trained: int = 0
    timed: int = 0

    @property
    def bundle(self) -> Path:
        return self.folder / "bundle"

    @property
    def card(self) -> ModelCard:
        return ModelCard.load(self.bundle / "card.json")

    def apply(self, *more: str | Path) -> Result:
        plan = ("--plan", str(self.study / "best.yaml"), "-o", str(self.bundle))
        return CliRunner().invoke(app, ["apply", *plan, *map(str, more)])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("apply")
    splits = {"train": Split(1, 4), "val": Split(2, 6), "test": Split(3, 8)}
    data = write_detection_set(folder / "set", splits)
    made = Made(folder, study_of(folder / "study", data), data)
    with pytest.MonkeyPatch.context() as patch:
        count_calls(patch, made)
        quick_export(patch)
        target = FakeTarget(noise=0.001)
        patch.setattr(ready_module, "target_from", lambda *_: target)
        asked = (*QUICK, "--budget-ms", "0.5")
        with pytest.MonkeyPatch.context() as killed:
            killed.setattr(steps, "validate", interrupt)
            made.said.append(made.apply(*asked))
        made.said.append(made.apply(*asked))
        made.timed = sum(job["timing"] is not None for job in target.jobs)
    return made


def study_of(folder: Path, data: Path) -> Path:
    """What a search leaves, as far as it is read here."""
    folder.mkdir()
    dense = load_yolo(demo_checkpoint()).model
    plan = uniform_plan(widths_of(dense), 0.04)
    plan = PruningPlan(plan.prune_ratios, importance="l2", compensate=False, base=model_hash(dense))
    plan.save(folder / "best.yaml")
    asked = {"goal": {"kind": "max_drop", "value": 1.0}, "runtime": "onnxruntime", "threads": 1}
    settings = {
        "asked": asked,
        "imgsz": [192, 192],
        "model": {"file": str(demo_checkpoint())},
        "data": {"file": str(data)},
    }
    (folder / "study.yaml").write_text(dump_yaml(stamped("study.yaml", settings)))
    return folder


def begun(*_: Any, **__: Any) -> Any:
    raise AssertionError("the work has begun")


def interrupt(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


def count_calls(patch: pytest.MonkeyPatch, made: Made) -> None:
    prune, train = api_pruning.prune_detection_model, api_pruning.fine_tune_pruned

    def pruning(*args: Any, **more: Any) -> Any:
        made.pruned += 1
        return prune(*args, **more)

    def training(*args: Any, **more: Any) -> Any:
        made.trained += 1
        return train(*args, **more)

    patch.setattr(api_pruning, "prune_detection_model", pruning)
    patch.setattr(api_pruning, "fine_tune_pruned", training)


def quick_export(patch: pytest.MonkeyPatch) -> None:
    """By the exporter that takes less time."""
    patch.setattr(export_module, "write_dynamo", export_module.write_torchscript)


def test_killed_between_steps_it_goes_on_and_repeats_none(made: Made) -> None:
    first, second = made.said
    assert [each.exit_code for each in made.said] == [130, 3], second.output
    assert "[5/6] mAP" in first.output
    assert "[6/6] bundle" not in first.output
    assert "epoch 1 of 1" in first.output
    assert "epoch 1 of 1" not in second.output
    assert (made.pruned, made.trained, made.timed) == (1, 1, 1 + steps.PROCESSES)
    names = {"model.pt", "model.onnx", "plan.yaml", "card.json", "card.md", "predict.py"}
    assert {each.name for each in made.bundle.iterdir()} == names


def test_a_missed_limit_is_marked_and_the_bundle_kept(made: Made) -> None:
    card = made.card
    assert not card.met
    assert card.limit_ms == 0.5
    assert card.max_drop is None, "a limit that is given replaces the study's goal"
    assert "MISSED: latency: up to" in made.said[-1].output
    assert "**MISSED: latency: up to" in (made.bundle / "card.md").read_text()


def test_plain_ultralytics_opens_the_weights_and_they_have_the_plans_widths(made: Made) -> None:
    dense, plan = load_yolo(demo_checkpoint()).model, made.study / "best.yaml"
    pruned = api_pruning.prune_detection_model(str(demo_checkpoint()), prune_yaml=plan)
    shapes = conv_shapes(YOLO(made.bundle / "model.pt").model)
    assert shapes == conv_shapes(pruned.model) != conv_shapes(dense)


def test_the_cards_map_is_what_ultralytics_finds_with_the_file(made: Made, tmp_path: Path) -> None:
    card = made.card
    found = YOLO(made.bundle / "model.onnx", task="detect").val(
        data=str(made.data), split="test", imgsz=192, project=str(tmp_path), plots=False,
        verbose=False, workers=0,
    )  # fmt: skip
    score = card.shipped.final
    assert (score.split, score.images) == ("test", 8)
    assert score.map50_95 > 0.4
    assert score.map50_95 == pytest.approx(found.box.map, abs=1e-3)
    for place, index in enumerate(found.box.ap_class_index):
        name = found.names[int(index)]
        assert score.by_class[name] == pytest.approx(found.box.ap[place], abs=1e-3)
    assert score.through == f"onnxruntime {version('onnxruntime')}"


def test_predict_py_finds_boxes_by_itself(made: Made, tmp_path: Path) -> None:
    image = sorted((made.data.parent / "images" / "test").iterdir())[0]
    blocked = "import sys; sys.modules.update(torch=None, ultralytics=None, autoprune=None)\n"
    program = blocked + f"sys.argv = ['predict.py', {str(image)!r}]\n"
    program += f"import runpy; runpy.run_path({str(made.bundle / 'predict.py')!r})"
    home = tmp_path / "home"
    home.mkdir()
    environment = {key: os.environ[key] for key in os.environ if key[:4] not in ("ORT_", "XDG_")}
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, check=True, cwd=tmp_path,
        env={**environment, "PYTHONPATH": "", "HOME": str(home)},
    )  # fmt: skip
    assert list(home.rglob("*")) == [], "what ONNX Runtime keeps of its user"
    rows = [line.split() for line in run.stdout.splitlines()]
    assert rows
    assert all(row[1] in made.card.classes and float(row[2]) > 0.25 for row in rows)
    assert (tmp_path / f"{image.stem}-boxes.jpg").exists()


def test_a_finished_bundle_stays_and_another_request_is_refused(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {file: file.stat().st_mtime_ns for file in made.bundle.iterdir()}
    monkeypatch.setattr(ready_module, "target_from", lambda *_: FakeTarget(noise=0.001))
    again = made.apply(*QUICK, "--budget-ms", "0.5")
    assert again.exit_code == 3
    assert "the finished bundle of this request" in again.output
    other = made.apply("--budget-ms", "0.5")
    assert other.exit_code == 2
    assert "holds the bundle of another request (fine_tune: " in other.output
    assert {file: file.stat().st_mtime_ns for file in made.bundle.iterdir()} == before


def test_the_card_says_what_was_checked_with_what(made: Made) -> None:
    card, text = made.card, (made.bundle / "card.md").read_text()
    assert card.fingerprint.cpu == "fake"
    assert card.shipped.params < card.dense.params
    assert card.shipped.latency.processes == steps.PROCESSES
    assert card.shipped.file_bytes == (made.bundle / "model.onnx").stat().st_size
    assert any("convolutions have the model's widths in the file" in said for said in card.checks)
    assert card.fine_tuned is not None
    assert ("after training" in card.checks[0]) == card.fine_tuned.kept
    assert "the fine-tune took mAP50-95 on val from" in text
    assert f"--plan {made.study / 'best.yaml'}" in card.command
    assert "epochs=1" in card.command
    for shown in (card.data["hash"], "AGPL-3.0", card.command, card.made, "3 fresh processes"):
        assert shown in text
    assert json.loads((made.bundle / "card.json").read_text())["validated"] is True


@pytest.mark.parametrize(
    ("flags", "needle"),
    [
        (["--runtime", "nothing"], "--runtime: got 'nothing', expected one of"),
        (["--plan", "none.yaml"], "--plan: got 'none.yaml', expected a per-index YAML"),
        (["--plan", "PLAN"], "apply: --model: got None, expected a file, as no study.yaml lies"),
        (["--plan", "PLAN", "--model", "no.pt", "--data", "DATA"], "no.pt: got 'no such file'"),
        (["--plan", "PLAN", "--model", "yolov8n.yaml", "--data", "DATA"], "base: got"),
        (["--data", "no.yaml"], "no.yaml"),
        (["-o", "FULL"], "got 'other files in it', expected a new or empty folder"),
        (["epoch=3"], "epoch: got 3, expected one of Ultralytics' training keys"),
        (["--budget-ms", "-1"], "--budget-ms: got -1.0, expected a number above 0"),
        (["--target", "nowhere"], "--target: got 'nowhere'"),
        (["--imgsz", "100"], "imgsz"),
    ],
)
def test_wrong_input_is_one_line_before_any_work(
    flags: list[str], needle: str, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_pruning, "prune_detection_model", begun)
    alone, full = tmp_path / "plan.yaml", tmp_path / "full"
    alone.write_text((made.study / "best.yaml").read_text())
    full.mkdir()
    (full / "precious.txt").write_text("mine")
    places = {"PLAN": str(alone), "DATA": str(made.data), "FULL": str(full)}
    asked = ["apply", "--plan", str(made.study / "best.yaml"), "-o", str(tmp_path / "new")]
    said = CliRunner().invoke(app, [*asked, *(places.get(flag, flag) for flag in flags)])
    assert said.exit_code == 2, said.output
    assert needle in said.output
    assert len(said.output.strip().splitlines()) == 1
    assert not (tmp_path / "new").exists()
    assert [file.name for file in full.iterdir()] == ["precious.txt"]


def test_a_device_behind_ssh_times_the_file_and_the_card_names_it(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = "openvino" if find_spec("openvino") else "onnxruntime"
    for name, value in (("PROCESSES", 1), ("LEAST_S", 0.2), ("MOST_S", 1.0)):
        monkeypatch.setattr(steps, name, value)
    quick_export(monkeypatch)
    with running_sshd(tmp_path) as sshd:
        monkeypatch.setenv(SSH_VARIABLE, shlex.join(sshd.ssh_command))
        plan, output = str(made.study / "best.yaml"), str(tmp_path / "bundle")
        where = ("--target", sshd.url, "--target-python", sys.executable, "--runtime", runtime)
        asked = ("apply", "--plan", plan, "-o", output, "--imgsz", "64", *where)
        said = CliRunner().invoke(app, [*asked, "--max-drop", "100"])
        assert said.exit_code == 0, said.output
        assert [name for name in sshd.sent() if name.endswith(".onnx")]
    card = ModelCard.load(tmp_path / "bundle" / "card.json")
    assert (card.fingerprint.runtime, card.fingerprint.precision) == (runtime, "fp32")
    assert card.request["target"] == sshd.url
    assert card.shipped.latency.processes == 1
    assert sshd.url in card.command
