"""One real search, without fakes: trained, over budget, continued, reproduced, reported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
from typer.testing import CliRunner, Result
from ultralytics import YOLO

from autoprune import load
from autoprune.cli.main import app
from autoprune.demo.bundle import demo_checkpoint
from autoprune.demo.dataset import Split, write_detection_set
from autoprune.domain.plan import PruningPlan, kept_width
from autoprune.domain.record import LONG
from autoprune.storage.study_folder import StudyFolder
from tests.network import no_network, noted

SPACE = """\
round_to: 8
default: {max_ratio: 0}
layers:
  4: {kept: [16, 64]}
  6: {kept: [32, 128]}
  22: [{kept: [16, 64]}, {kept: [16, 64]}]
"""
# Three quarters of these gone is far more than 1.2 times faster; nothing gone is not faster at all,
# which the random sampler draws as trial 5 with this seed.
ARGUMENTS = [
    "--speedup",
    "1.2",
    "--imgsz",
    "96",
    "--sampler",
    "random",
    "--seed",
    "3",
    "--name",
    "tiny",
    "epochs=1",
]

# The command line as it is, except that it takes less time to measure and tries fewer plans, and
# believes what the predictor learned in that time: by its true error, nothing is clearly over.
PROGRAM = """\
from dataclasses import replace
from functools import partial
from autoprune.search.context import prepare
from autoprune.search.evaluate import baselines, candidate
from autoprune.search.feasibility import alternatives
from autoprune.search.learn import predicting
from autoprune.search.select import finish, order

quick = partial(prepare.TimingSettings, half_width=0.03, cap_s=2.0, dense_s=1.0)
for module, name, value in (
    (prepare, "TimingSettings", quick),
    (predicting, "LIMIT_S", 4.0),
    (candidate, "CLEARLY_OVER", 0.0),
    (alternatives, "SIZES", 1),
    (alternatives, "SIBLINGS", 0),
    (alternatives, "GLANCE", replace(alternatives.GLANCE, dense_s=1.0, cap_s=2.0)),
    (baselines, "RATIOS", (0.25,)),
    (baselines, "blocks_of", lambda isa: (16,)),
    (finish, "CONFIRMING_S", (0.5, 2.0)),
    (order, "PROMOTIONS", 1),
):
    assert hasattr(module, name), f"{name} has moved: this changes nothing"
    setattr(module, name, value)
from autoprune.cli.main import main
# before it begins
main()
"""
# Ctrl-C once the trials are scored.
INTERRUPTED = """
from autoprune.search import run

def interrupted(*_):
    raise KeyboardInterrupt

assert run.Promotions
run.Promotions = interrupted
"""


def _autoprune(folder: Path, *arguments: str, before: str = "", code: int = 0) -> str:
    program = PROGRAM.replace("# before it begins\n", before)
    command = [*no_network(), sys.executable, "-c", program, *arguments]
    home = {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
    environment = {**os.environ, **home, **noted(folder)}
    run = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500
    )
    assert run.returncode == code, f"{run.stdout}\n{run.stderr}"
    assert "Traceback" not in run.stderr
    return run.stdout + run.stderr


def _here(folder: Path, *arguments: str) -> Result:
    """In this process: where nothing is measured, another would only import torch again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return CliRunner().invoke(app, arguments)


def _files(folder: Path) -> list[str]:
    data = str(folder / "tiny-set" / "data.yaml")
    return ["--model", str(demo_checkpoint()), "--data", data, "--space", "space.yaml"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    folder = tmp_path_factory.mktemp("search")
    splits = {"train": Split(7, 32), "val": Split(8, 16), "test": Split(9, 12)}
    write_detection_set(folder / "tiny-set", splits)
    (folder / "space.yaml").write_text(SPACE)
    files = _files(folder)
    began = _autoprune(
        folder, "search", *files, *ARGUMENTS, "--trials", "2", before=INTERRUPTED, code=130
    )
    continued = _autoprune(folder, "search", *files, *ARGUMENTS, "--trials", "8")
    assert ("Latency learned" in began, "Latency learned" in continued) == (True, False)
    (verdict,) = (line for line in began.splitlines() if " is reachable by pruning, about" in line)
    assert verdict in continued
    return StudyFolder(folder / "studies" / "tiny")


def test_the_search_trains_some_plans_and_refuses_to_train_slow_ones(study: StudyFolder) -> None:
    records = study.trial_records()
    assert len(records) == 8
    assert any(record.state == "over_budget" for record in records)
    trained = next(r for r in records if r.map50_95 is not None and r.same_as is None)
    untrained, short = trained.rungs[:2]
    assert (untrained.epochs, untrained.images_seen) == (0, 0)
    assert (short.epochs, short.images_seen) == (1, 32)


def test_it_asked_nothing_of_a_network_and_needed_none(study: StudyFolder) -> None:
    root = study.root.parent.parent
    assert not (root / "network.log").exists(), (root / "network.log").read_text()
    of_others = [name for name in ("intel", "cache/Microsoft") if (root / name).exists()]
    assert not of_others, "what runtimes keep of their users"
    if not no_network():
        pytest.skip("no network namespace can be made here")


def test_other_settings_are_refused_where_there_is_a_study(study: StudyFolder) -> None:
    root = study.root.parent.parent
    said = _here(root, "search", *_files(root), *ARGUMENTS, "--trials", "9", "batch=4")
    assert said.exit_code == 2
    assert "fine-tune batch: was 8, now 4" in said.output


def test_latency_was_predicted_about_as_it_was_measured(study: StudyFolder) -> None:
    for record in (*study.baseline_records(), *study.trial_records()):
        if record.latency is not None and record.same_as is None:
            assert record.predicted_ms is not None
            assert 0.5 < record.predicted_ms / record.latency.median_ms < 2


def test_the_best_plan_was_trained_longer(study: StudyFolder) -> None:
    outcome = study.load_outcome()
    assert outcome is not None
    everything = [*study.baseline_records(), *study.trial_records()]
    best = next(record for record in everything if record.name == outcome.best)
    longer = best.at_rung(LONG)
    assert longer is not None
    assert longer.epochs == 3


def test_the_study_is_an_ordinary_optuna_study(study: StudyFolder) -> None:
    loaded = optuna.load_study(study_name="tiny", storage=f"sqlite:///{study.database}")
    assert len(loaded.trials) == 8
    assert len(loaded.directions) == 3


def test_the_best_plan_was_confirmed_within_its_budget(study: StudyFolder) -> None:
    outcome = study.load_outcome()
    assert outcome is not None
    assert outcome.goal_met
    assert outcome.budget_ms is not None
    everything = [*study.baseline_records(), *study.trial_records()]
    best = next(record for record in everything if record.name == outcome.best)
    assert best.confirmed is not None
    assert best.confirmed.high_ms <= outcome.budget_ms
    assert best.final is not None
    assert best.final.split == "test"
    assert best.final.images == 12


def test_the_best_model_is_exported_for_plain_ultralytics(study: StudyFolder) -> None:
    exported = study.best_export(".onnx")
    (seen,) = YOLO(exported, task="detect").predict(np.zeros((96, 96, 3), np.uint8), imgsz=96)
    assert seen.names == load(study.best_model).names


def test_pruning_with_the_best_plan_reproduces_its_widths(study: StudyFolder) -> None:
    root = study.root.parent.parent
    plan_file = ["--plan", str(study.best_plan)]
    said = _here(root, "prune", str(demo_checkpoint()), *plan_file, "-o", "again.pt")
    assert said.exit_code == 0, said.output
    again, best = load(root / "again.pt").model, load(study.best_model).model
    shapes = {name: tensor.shape for name, tensor in again.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in best.state_dict().items()}
    plan = PruningPlan.load(study.best_plan)
    ratio = plan.prune_ratios[4]
    assert isinstance(ratio, float)
    layers = again.model
    assert layers[4].cv2.conv.out_channels == kept_width(64, ratio, plan.round_to)


def test_the_report_and_the_tables_are_there(study: StudyFolder) -> None:
    for name in ("report.html", "pareto.png", "trials.csv", "pareto.csv"):
        assert (study.report / name).stat().st_size > 0
    page = (study.report / "report.html").read_text()
    assert "uniform" in page
    assert "ONNX Runtime" in page or "onnxruntime" in page
    assert "What could be run instead" in page


def test_weights_and_exports_stay_for_the_front_only(study: StudyFolder) -> None:
    from autoprune.domain.front import pareto_front

    records = [*study.baseline_records(), *study.trial_records()]
    front = {record.name for record in pareto_front(records)}
    outcome = study.load_outcome()
    assert outcome is not None
    best = outcome.best
    for record in records:
        if record.kind == "trial":
            for name in ("model.pt", "model.onnx"):
                kept = (study.folder_of(record) / name).exists()
                assert kept == (record.name in front) or record.name == best, record.name


@pytest.mark.parametrize(
    ("arguments", "needle"),
    [
        ([], "exactly one of --budget-ms"),
        (["--budget-ms", "5", "--speedup", "2"], "exactly one of --budget-ms"),
        (["--budget-ms", "-1"], "goal.value"),
        (["--speedup", "0.9"], "above 1"),
        (["--budget-ms", "5", "--model", "nothing.pt"], "--data"),
        (["--budget-ms", "5", "--imgsz", "100"], "multiple of 32"),
        (["--budget-ms", "5", "--imgsz", "abc"], "--imgsz"),
        (["--budget-ms", "5", "--sampler", "magic"], "sampler"),
        (["--budget-ms", "5", "--protect", "a"], "--protect"),
        (["--budget-ms", "5", "--protect", "99"], "--protect"),
        (["--budget-ms", "5", "epochz=3"], "epochs"),
        (["--budget-ms", "5", "three"], "key=value"),
        (["--budget-ms", "5", "--importance", "magic"], "importance"),
        (["--budget-ms", "5", "--threads", "0"], "threads"),
        (["--budget-ms", "5", "--target", "ssh://-oProxyCommand=x"], "--target"),
        (["--budget-ms", "5", "--target-python", "python3.9"], "--target-python"),
        (["--budget-ms", "5", "--name", "a/b"], "name"),
        (["--budget-ms", "5", "--recipe", "none.yaml"], "none.yaml"),
        (["--unknown-option"], "--unknown-option"),
    ],
)
def test_wrong_input_is_one_clear_line_and_exit_code_2(
    arguments: list[str], needle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        app(["search", *arguments, "--studies", str(tmp_path)])
    assert caught.value.code == 2
    shown = capsys.readouterr().err
    assert needle in shown
    assert "Traceback" not in shown
    assert list(tmp_path.iterdir()) == []
