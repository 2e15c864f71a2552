"""A lost or broken study.db is made again from the records, and the search simply goes on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from autoprune.search.evaluate import open_study as opening
from autoprune.search.evaluate import trials
from autoprune.search.evaluate.rebuild import BROKEN, rebuild, set_broken_database_aside
from autoprune.search.learn.profile import Profile
from tests.search.fakes import (
    FakeEvaluation,
    Heard,
    fake_bench,
    fake_loop,
    fake_profile,
    fake_study,
)


@pytest.fixture
def evaluation(monkeypatch: pytest.MonkeyPatch) -> FakeEvaluation:
    fake = FakeEvaluation()
    monkeypatch.setattr(trials, "evaluate_untrained", fake)
    return fake


def _told(study: optuna.Study) -> list[tuple[Any, ...]]:
    return [(each.number, each.state, each.params, each.values) for each in study.get_trials()]


def _cut(database: Path) -> None:
    database.write_bytes(database.read_bytes()[: database.stat().st_size // 2])


def _overwrite(database: Path) -> None:
    database.write_bytes(b"\xa5" * database.stat().st_size)


def _spoil_the_middle(database: Path) -> None:
    content = bytearray(database.read_bytes())
    content[4096 : 4096 * 8] = b"\xa5" * (4096 * 7)
    database.write_bytes(content)


@pytest.mark.parametrize("spoil", [_cut, _overwrite, _spoil_the_middle, Path.unlink])
def test_the_study_is_made_again_from_the_records(
    spoil: Callable[[Path], None], tmp_path: Path, evaluation: FakeEvaluation
) -> None:
    loop = fake_loop(fake_bench(tmp_path, trials=6))
    loop.run()
    before, bench = _told(loop.study), fake_bench(tmp_path, trials=8)
    spoil(bench.folder.database)
    heard = Heard()
    set_broken_database_aside(bench.folder.database, heard)
    study = fake_study(bench)
    rebuild(bench, study, heard)
    assert _told(study) == before
    assert heard.said[-1] == "6 trials are known from their records."
    lost = spoil is Path.unlink
    assert (tmp_path / BROKEN).exists() == (not lost)
    assert lost or heard.said[0].startswith(f"{bench.folder.database}: broken; kept as {BROKEN}")
    assert "8" in fake_loop(bench).run()
    assert len(evaluation.plans) == 8, "nothing is scored twice"


def test_an_interrupted_rebuild_goes_on(
    tmp_path: Path, evaluation: FakeEvaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = fake_loop(fake_bench(tmp_path, trials=6))
    loop.run()
    before, bench = _told(loop.study), fake_bench(tmp_path, trials=8)
    assert not rebuild(bench, loop.study, Heard()), "a study that was never lost"
    bench.folder.database.unlink()
    study = fake_study(bench)
    add = study.add_trial

    def interrupted(trial: optuna.trial.FrozenTrial) -> None:
        if len(study.get_trials()) == 2:
            raise KeyboardInterrupt
        add(trial)

    monkeypatch.setattr(study, "add_trial", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rebuild(bench, study, Heard())
    again = fake_study(bench)
    assert rebuild(bench, again, Heard())
    assert _told(again) == before


def test_a_missing_or_failed_record_is_a_failed_trial(
    tmp_path: Path, evaluation: FakeEvaluation
) -> None:
    fake_loop(fake_bench(tmp_path, trials=4)).run()
    bench = fake_bench(tmp_path)
    (bench.folder.trial(1) / "record.json").unlink()
    bench.folder.database.unlink()
    study = fake_study(bench)
    rebuild(bench, study, Heard())
    states = [each.state for each in study.get_trials()]
    assert states == [TrialState.COMPLETE, TrialState.FAIL, *[TrialState.COMPLETE] * 2]


def test_a_sound_or_locked_database_stays(tmp_path: Path, evaluation: FakeEvaluation) -> None:
    fake_loop(fake_bench(tmp_path, trials=2)).run()
    bench, heard = fake_bench(tmp_path), Heard()
    study = fake_study(bench)
    before = _told(study)
    with closing(sqlite3.connect(bench.folder.database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        set_broken_database_aside(bench.folder.database, heard)
        other.execute("ROLLBACK")
    set_broken_database_aside(bench.folder.database, heard)
    rebuild(bench, study, heard)
    assert _told(study) == before
    assert not heard.said


def test_a_study_is_opened_on_its_records_and_takes_nothing_over_a_second_time(
    tmp_path: Path, evaluation: FakeEvaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, taken = fake_bench(tmp_path, trials=4), []
    monkeypatch.setattr(Profile, "of", lambda *_: fake_profile(bench))
    monkeypatch.setattr(opening, "take_trials", lambda *_: taken.append("taken"))
    opening.open_study(bench, Heard())
    assert taken == ["taken"], "of a new study"
    fake_loop(bench).run()
    _overwrite(bench.folder.database)
    study = opening.open_study(bench, Heard())
    assert taken == ["taken"]
    done = study.get_trials(states=[TrialState.COMPLETE])
    assert [each.number for each in done] == [0, 1, 2, 3]
