"""What database and records disagree about is named when a search starts, and mended."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from optuna.trial import TrialState

from autoprune.search.evaluate import trials
from autoprune.search.evaluate.cross_check import cross_check
from autoprune.storage.study_folder import StudyFolder
from tests.search.fakes import (
    FakeEvaluation,
    Heard,
    failed,
    fake_bench,
    fake_loop,
    fake_study,
    signature,
)


@pytest.fixture
def evaluation(monkeypatch: pytest.MonkeyPatch) -> FakeEvaluation:
    fake = FakeEvaluation()
    monkeypatch.setattr(trials, "evaluate_untrained", fake)
    return fake


def _said(root: Path) -> list[str]:
    bench, heard = fake_bench(root), Heard()
    cross_check(bench, fake_study(bench), heard)
    return heard.said


def test_a_study_that_agrees_is_not_spoken_of(tmp_path: Path, evaluation: FakeEvaluation) -> None:
    evaluation.answer = lambda candidate: (
        failed(candidate) if candidate.number == 2 else FakeEvaluation.by_kept_share(candidate)
    )
    fake_loop(fake_bench(tmp_path, trials=6)).run()
    fake_study(fake_bench(tmp_path)).ask()  # begun and left
    assert _said(tmp_path) == []


def test_a_database_of_before_learns_the_later_records(
    tmp_path: Path, evaluation: FakeEvaluation
) -> None:
    fake_loop(fake_bench(tmp_path, trials=3)).run()
    database = fake_bench(tmp_path).folder.database
    shutil.copy(database, tmp_path / "backup.db")
    fake_loop(fake_bench(tmp_path, trials=9)).run()
    whole = [trial.values for trial in fake_study(fake_bench(tmp_path)).get_trials()]
    shutil.copy(tmp_path / "backup.db", database)
    before = fake_bench(tmp_path).folder.trial_records()
    (said,) = _said(tmp_path)
    assert "ends before trial 3" in said
    assert "trials 3, 4, 5, 6, 7 and 1 more: they are entered" in said
    fake_loop(fake_bench(tmp_path, trials=9)).run()
    assert fake_bench(tmp_path).folder.trial_records() == before
    assert [trial.values for trial in fake_study(fake_bench(tmp_path)).get_trials()] == whole
    assert len(evaluation.plans) == 9, "nothing is scored twice"
    assert _said(tmp_path) == []


def test_a_trial_under_way_is_never_told_the_record_of_another_plan(
    tmp_path: Path, evaluation: FakeEvaluation
) -> None:
    fake_loop(fake_bench(tmp_path, trials=3)).run()
    database = fake_bench(tmp_path).folder.database
    study = fake_study(fake_bench(tmp_path))
    number = study.ask().number  # drawn, and killed before it was scored
    shutil.copy(database, tmp_path / "backup.db")
    fake_loop(fake_bench(tmp_path, trials=4)).run()
    made = fake_bench(tmp_path).folder.trial_records()[number]
    shutil.copy(tmp_path / "backup.db", database)
    assert _said(tmp_path) == [
        f"trial {number}: its record is of another plan than the database's; the record counts."
    ]
    fake_loop(fake_bench(tmp_path, trials=6)).run()
    told = fake_study(fake_bench(tmp_path)).get_trials()
    assert told[number].state == TrialState.FAIL
    assert fake_bench(tmp_path).folder.trial_records()[number] == made
    assert [trial.state for trial in told[4:]] == [TrialState.COMPLETE] * 2
    assert _said(tmp_path) == [], "it is said once"


def test_other_values_and_another_state_are_named(
    tmp_path: Path, evaluation: FakeEvaluation
) -> None:
    fake_loop(fake_bench(tmp_path, trials=4)).run()
    folder = fake_bench(tmp_path).folder
    one, two = folder.trial_records()[1:3]
    folder.save_record(one.model_copy(update={"predicted_ms": 4.25}))
    swapped = fake_study(fake_bench(tmp_path))
    database = folder.database
    import sqlite3

    with sqlite3.connect(database) as opened:
        opened.execute("UPDATE trials SET state = 'FAIL' WHERE number = ?", (two.number,))
    del swapped
    values, state = _said(tmp_path)
    assert values.startswith("trial 1: the database has the values [")
    assert "4.25" in values
    assert state == "trial 2: the database has it as failed, its record has not; the record counts."


def test_a_record_copied_from_another_trial_is_set_aside(
    tmp_path: Path, evaluation: FakeEvaluation
) -> None:
    fake_loop(fake_bench(tmp_path, trials=4)).run()
    folder: StudyFolder = fake_bench(tmp_path).folder
    before = folder.trial_records()
    before[3].pruning_plan().save(folder.trial(3) / "plan.yaml")
    shutil.copy(folder.trial(1) / "record.json", folder.trial(3) / "record.json")
    assert [record.number for record in folder.trial_records()] == [0, 1, 2]
    (why,) = folder.set_broken_aside()
    assert "got 'trial 1', expected the record of 0003" in why
    fake_loop(fake_bench(tmp_path, trials=4)).run()
    after = folder.trial_records()
    assert [signature(r.pruning_plan()) for r in after] == [
        signature(r.pruning_plan()) for r in before
    ]
    assert json.loads((folder.trial(3) / "record.json").read_text())["number"] == 3
