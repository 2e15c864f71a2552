"""Writing the whole report, at any time of a study's life, and without the heavy imports."""

import subprocess
import sys
from pathlib import Path

import pytest

from autoprune.domain.outcome import Outcome
from autoprune.errors import ConfigError
from autoprune.report import write_report
from autoprune.storage.study_folder import StudyFolder
from tests.report import fake_study as fake

FILES = ["pareto.csv", "pareto.png", "report.html", "trials.csv"]


def written(folder: StudyFolder) -> list[str]:
    write_report(folder)
    return sorted(path.name for path in folder.report.iterdir())


def test_a_finished_study_gets_exactly_the_four_files(tmp_path: Path) -> None:
    folder = fake.busy_study(tmp_path / "busy")
    assert written(folder) == FILES
    assert (folder.report / "pareto.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("records", "outcome"),
    [
        ([], None),
        ([fake.dense()], None),
        ([fake.dense()], Outcome(status="running")),
        ([fake.trial(0, 0.5, 0.6)], None),
        ([fake.dense(), fake.trial(0, 0.8), fake.trial(1, 0.7)], None),
        ([fake.dense(), fake.failed(0, "oom", "out of memory")], Outcome(status="interrupted")),
        ([fake.dense(), fake.trial(0, 0.5, 0.6)], Outcome(status="interrupted")),
        ([fake.record("dense", "dense")], Outcome(status="failed", message="disk full")),
        ([fake.record("dense", "dense", size=None, latency=None)], None),
        ([fake.dense()], fake.finished("dense")),
        ([fake.dense()], fake.finished("a trial whose record is gone")),
        ([fake.dense(), fake.trial(0, 0.5, 0.6, size=None)], fake.finished("trial 0")),
    ],
)
def test_an_unfinished_study_gets_its_report_too(tmp_path: Path, records, outcome) -> None:
    assert written(fake.write_study(tmp_path / "early", records, outcome)) == FILES


@pytest.mark.parametrize(
    "goal", [{"kind": "speedup", "value": 1.7}, {"kind": "max_drop", "value": 2.0}]
)
@pytest.mark.parametrize("with_dense", [True, False])
def test_every_goal_is_reported_before_dense_is_known_and_after(
    tmp_path: Path, goal: dict[str, object], with_dense: bool
) -> None:
    records = [fake.dense()] if with_dense else []
    records += [fake.trial(0, 0.5, 0.73), fake.trial(1, 0.7, 0.5)]
    folder = fake.write_study(tmp_path / "s", records, content={"asked": {"goal": goal}})
    assert written(folder) == FILES


def test_a_study_yaml_with_nothing_in_it_is_enough(tmp_path: Path) -> None:
    assert (
        written(fake.write_study(tmp_path / "s", [fake.dense()], content={"demo": True})) == FILES
    )


def test_reporting_again_replaces_the_files_and_leaves_no_drafts(tmp_path: Path) -> None:
    folder = fake.busy_study(tmp_path / "busy", trials=15)
    write_report(folder)
    before = {path.name: path.read_bytes() for path in folder.report.iterdir()}
    assert written(folder) == FILES
    assert {path.name: path.read_bytes() for path in folder.report.iterdir()} == before


def test_a_folder_without_a_study_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no study\.yaml") as caught:
        write_report(StudyFolder(tmp_path))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("study.yaml", "asked: 3", "study.yaml: asked: got 3"),
        ("study.yaml", "asked: {goal: {kind: budget_ms, value: -1}}", "asked.goal.value: got -1"),
        ("outcome.yaml", "status: maybe", "outcome.yaml: status: got 'maybe'"),
        ("dense/record.json", "{", "dense/record.json"),
    ],
)
def test_a_broken_file_is_named_in_one_line(
    tmp_path: Path, file: str, text: str, said: str
) -> None:
    folder = fake.write_study(tmp_path, [fake.dense()], fake.finished("dense"))
    (folder.root / file).write_text(text)
    with pytest.raises(ConfigError) as caught:
        write_report(folder)
    assert said in str(caught.value).replace("\\", "/")
    assert "\n" not in str(caught.value)


def test_reporting_imports_neither_torch_nor_ultralytics_nor_optuna(tmp_path: Path) -> None:
    folder = fake.busy_study(tmp_path / "busy", trials=15)
    program = (
        "import sys; from pathlib import Path; from autoprune.report import write_report; "
        "from autoprune.storage.study_folder import StudyFolder; "
        "write_report(StudyFolder(Path(sys.argv[1]))); "
        "print(sorted({'torch', 'ultralytics', 'optuna', 'onnxruntime', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder.root)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "[]"


def test_the_answer_alone_needs_no_plotting_library() -> None:
    program = (
        "import sys; import autoprune.report.answer; "
        "print(sorted({'plotly', 'matplotlib', 'pandas', 'jinja2', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "[]"
