"""Where a study keeps its files, and what is read back."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from autoprune.domain.outcome import Outcome
from autoprune.domain.record import TrialRecord
from autoprune.errors import ConfigError
from autoprune.storage import records
from autoprune.storage.leftovers import tidy
from autoprune.storage.locks import alone
from autoprune.storage.study_folder import StudyFolder
from tests.domain.test_front import trial


def test_records_come_back_by_kind_and_in_order(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    trials = [trial(number, 1, 1.0, 0.5) for number in (12, 3, 100)]
    dense = trial(None, 1, 1.0, 0.5, kind="dense", name="dense")
    baselines = [
        trial(None, 1, 1.0, 0.5, kind="baseline", name=name)
        for name in ("uniform-0.50", "uniform-0.25")
    ]
    for record in (*trials, dense, *baselines):
        folder.save_record(record)
    assert [record.number for record in folder.trial_records()] == [3, 12, 100]
    assert [r.name for r in folder.baseline_records()] == ["uniform-0.25", "uniform-0.50"]
    assert folder.dense_record() == dense
    assert (tmp_path / "trials" / "0012" / "record.json").is_file()


def test_more_than_ten_thousand_trials_stay_in_order(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    for number in (9999, 10000, 20):
        folder.save_record(trial(number, 1, 1.0, 0.5))
    assert [record.number for record in folder.trial_records()] == [20, 9999, 10000]


def test_an_empty_folder_has_no_records_and_is_no_study(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    assert folder.dense_record() is None
    assert folder.trial_records() == []
    assert folder.load_outcome() is None
    with pytest.raises(ConfigError, match=r"no study\.yaml"):
        folder.load_settings()


def test_a_trial_without_a_record_yet_is_not_finished(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    folder.trial(0).mkdir(parents=True)
    (folder.trial(0) / ".record.json.x1").write_text("{half")
    assert folder.trial_records() == []


def test_a_record_that_is_written_or_removed_while_records_are_read_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = StudyFolder(tmp_path)
    for number in (0, 1):
        folder.save_record(trial(number, 1, 1.0, 0.5))
    first = folder.trial(0) / "record.json"
    content, load = first.read_bytes(), TrialRecord.load
    first.unlink()

    def late(path: str, *, stat: Callable[[str], os.stat_result] = os.stat) -> os.stat_result:
        try:
            return stat(path)
        finally:
            if path == str(first):
                first.write_bytes(content)

    def gone(path: Path) -> TrialRecord:
        path.unlink()
        return load(path)

    with monkeypatch.context() as patched:
        patched.setattr(records.os, "stat", late)
        assert [record.number for record in folder.trial_records()] == [1]
    assert [record.number for record in folder.trial_records()] == [0, 1]
    os.utime(first)
    with monkeypatch.context() as patched:
        patched.setattr(TrialRecord, "load", gone)
        assert [record.number for record in folder.trial_records()] == [1]
    assert folder.broken_records() == {}


def test_an_outcome_survives_its_file(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    outcome = Outcome(
        status="finished",
        stopped_by="--trials 12 reached",
        best="trial 7",
        goal_met=True,
        budget_ms=4.9,
        message="a: #b",
        finished="2026-01-01T00:00:00+00:00",
    )
    outcome.save(folder.outcome)
    assert folder.load_outcome() == outcome


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("status: done", "outcome.yaml: status: got 'done'"),
        ("{}", "outcome.yaml: status"),
        ("status: finished\nbudget_ms: .nan", "budget_ms: got nan"),
        ("status: finished\nspeed: 3", "speed: unknown key"),
    ],
)
def test_a_broken_outcome_is_one_clear_line(tmp_path: Path, text: str, said: str) -> None:
    folder = StudyFolder(tmp_path)
    folder.outcome.write_text(text)
    with pytest.raises(ConfigError) as caught:
        folder.load_outcome()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"status: done", b"status: [1", b"\xff\x00"])
def test_a_broken_outcome_is_set_aside_and_the_search_goes_on(
    tmp_path: Path, content: bytes
) -> None:
    folder = StudyFolder(tmp_path)
    folder.outcome.write_bytes(content)
    (why,) = folder.set_broken_aside()
    assert "outcome.yaml" in why
    assert folder.load_outcome() is None
    assert (tmp_path / "outcome.broken.yaml").read_bytes() == content
    assert folder.set_broken_aside() == []


@pytest.mark.parametrize("content", ['{"seconds": 3}', '{"seconds": {"a": "b"}}', '{"sec', "[]"])
def test_broken_seconds_are_set_aside_and_noted_anew(tmp_path: Path, content: str) -> None:
    folder = StudyFolder(tmp_path)
    folder.stages.write_text(content)
    (why,) = folder.set_broken_aside()
    assert "stages.json" in why
    folder.add_stage_seconds("trials", 2.0)
    assert folder.stage_seconds() == {"trials": 2.0}
    assert (tmp_path / "stages.broken.json").read_text() == content


def test_what_a_newer_version_wrote_is_refused_not_set_aside(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    folder.outcome.write_text("schema: 99\nstatus: finished\n")
    with pytest.raises(ConfigError, match="newer"):
        folder.set_broken_aside()
    assert folder.outcome.exists()


def test_what_killed_work_left_goes_where_nobody_works(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    for place in (folder.trial(0), folder.trial(1), folder.baseline("uniform-0.25"), folder.dense):
        (place / "export-x").mkdir(parents=True)
        (place / "fine-tune-x" / "run").mkdir(parents=True)
        draft = ".record.json.0123456789abcdef"
        for name in (
            "model.pt.part",
            "model.part.pt",
            ".attempts",
            "model.pt",
            "record.json",
            draft,
        ):
            (place / name).write_text("x")
    young, old = tmp_path / ".best.yaml.0123456789abcdef", tmp_path / ".study.db.0123456789abcdef"
    for path in (young, old):
        path.write_text("x")
    os.utime(old, (1, 1))
    (folder.trial(0) / ".lock").touch()
    with alone(tmp_path / ".finish.lock"):
        tidy(folder, [".prepare.lock", ".finish.lock"])
    assert (folder.dense / "export-x").exists()
    with alone(folder.trial(1) / ".lock"):
        tidy(folder, [".prepare.lock", ".finish.lock"])
    assert (folder.trial(1) / "export-x").exists()
    assert young.exists()
    assert not old.exists()
    kept = {"model.pt", "record.json"}
    assert {file.name for file in folder.dense.iterdir()} == kept
    assert {file.name for file in folder.baseline("uniform-0.25").iterdir()} == kept
    assert {file.name for file in folder.trial(0).iterdir()} == kept | {".lock"}
