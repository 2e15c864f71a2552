"""The trial loop on PostgreSQL: several workers, several folders, one study."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from autoprune.domain.record import TrialRecord
from autoprune.search.evaluate import trials
from autoprune.search.evaluate.attempts import attempt
from autoprune.search.evaluate.candidate import Candidate
from autoprune.search.evaluate.trial_queue import TrialQueue
from tests.forks import Fork, Forks
from tests.search.fakes import FakeEvaluation, Heard, failed, fake_loop
from tests.search.shared import of_database, shared_bench, shared_folder

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def evaluation(monkeypatch: pytest.MonkeyPatch) -> FakeEvaluation:
    fake = FakeEvaluation()
    monkeypatch.setattr(trials, "evaluate_untrained", fake)
    return fake


def test_a_folder_is_made_again_from_the_database(
    tmp_path: Path, database: str, evaluation: FakeEvaluation
) -> None:
    bench = shared_bench(tmp_path / "one", database, trials=6)
    fake_loop(bench).run()
    other = shared_folder(tmp_path / "another", database)
    assert other.trial_records() == []
    other.fetch()
    assert other.trial_records() == bench.folder.trial_records()
    assert len(other.trial_records()) == 6


def test_what_others_have_just_finished_is_not_scored_again(
    tmp_path: Path, database: str, evaluation: FakeEvaluation
) -> None:
    late = shared_bench(tmp_path / "a", database, trials=3)
    late.folder.fetch_records()  # and a moment later, when that still counts as fresh:
    fake_loop(shared_bench(tmp_path / "b", database, trials=3)).run()
    heard = Heard()
    loop = fake_loop(late)
    loop.listener = heard
    loop.run()
    assert heard.said == []
    assert len(evaluation.plans) == len(late.folder.trial_records()) == 3


def test_a_worker_that_was_taken_for_lost_changes_nothing_when_it_wakes_up(
    tmp_path: Path, database: str, evaluation: FakeEvaluation
) -> None:
    """Its lock was gone; another worker finished the trial, and its record counts."""
    slow, fast = (shared_bench(tmp_path / name, database, trials=1) for name in ("a", "b"))
    loop = fake_loop(slow)

    def sleeps(candidate: Candidate) -> TrialRecord:
        of_database(slow.folder).locks.close()
        evaluation.answer = FakeEvaluation.by_kept_share
        fake_loop(fast).run()
        return FakeEvaluation.by_kept_share(candidate).model_copy(update={"seconds": 99.0})

    evaluation.answer = sleeps
    loop.run()
    (told,) = loop.study.get_trials(deepcopy=False)
    (made,) = fast.folder.trial_records()
    assert told.state == TrialState.COMPLETE
    assert made.seconds == 1.0
    third = shared_bench(tmp_path / "c", database, trials=1)
    assert len(third.folder.trial_records()) == 1
    assert len(evaluation.plans) == 2


def test_a_plan_that_kills_workers_on_two_machines_is_given_up(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that dies writes nothing: the next one, elsewhere, knows from the database."""
    tried: list[int] = []

    def deadly(bench: Any, candidate: Candidate, listener: Any) -> TrialRecord:
        with attempt(candidate.folder(bench.folder)) as refused:
            if refused is None:
                tried.append(1)
                raise _Killed
            made = failed(candidate).model_copy(update={"failure": refused})
            bench.folder.save_record(made)
            return made

    class _Killed(BaseException):
        pass

    monkeypatch.setattr(trials, "evaluate_untrained", deadly)
    monkeypatch.setattr(TrialQueue, "note_attempts", _only_upwards(TrialQueue.note_attempts))
    for name in ("a", "b"):
        bench = shared_bench(tmp_path / name, database, trials=1)
        with pytest.raises(_Killed):
            fake_loop(bench).run()
        of_database(bench.folder).locks.close()
    bench = shared_bench(tmp_path / "c", database, trials=1)
    fake_loop(bench).run()
    (made,) = bench.folder.trial_records()
    assert made.failure is not None
    assert made.failure.detail == "its worker died 2 times while working on it"
    assert len(tried) == 2


def _only_upwards(note: Any) -> Any:
    """A process that is killed has no time to take its attempt back."""

    def noted(self: Any, trial: Any, attempts: int) -> None:
        if attempts > trial.user_attrs.get("attempts", 0):
            note(self, trial, attempts)

    return noted


_WORKER = """
import os, sys, time
from pathlib import Path
from autoprune.search.context import advisory_locks
from autoprune.search.evaluate import trials
from tests.search.fakes import FakeEvaluation, fake_loop
from tests.search.shared import shared_bench

def slow(candidate):
    time.sleep(float(sys.argv[3]))
    return FakeEvaluation.by_kept_share(candidate)

advisory_locks.RECONNECT_S = 0.0
trials.evaluate_untrained = FakeEvaluation(slow)
fake_loop(shared_bench(Path(sys.argv[1]), os.environ["DATABASE"], trials=int(sys.argv[2]))).run()
"""


@pytest.fixture
def worker(forks: Forks, database: str, tmp_path: Path) -> Iterator[Callable[[str, float], Fork]]:
    """Starts a search in a folder, in a process of its own, whose trials take so many seconds."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DATABASE": database}
    with ExitStack() as ends:

        def begin(name: str, seconds: float) -> Fork:
            arguments = str(tmp_path / name), "16", str(seconds)
            fork = forks.begin(_WORKER, *arguments, folder=tmp_path, environment=environment)
            ends.callback(fork.end)
            return fork

        yield begin


def test_workers_in_two_folders_share_a_study_and_one_that_is_killed_is_replaced(
    tmp_path: Path, database: str, worker: Callable[[str, float], Fork]
) -> None:
    folder = shared_folder(tmp_path / "d", database)
    study = of_database(folder).study
    doomed = worker("c", 600.0)
    _until(lambda: _attempts(study) == 1, doomed)
    workers = [worker(name, 0.05) for name in ("a", "b")]
    _until(lambda: _attempts(study) > 1, doomed, *workers)
    doomed.end()
    for search in workers:
        assert search.wait() == 0, search.said()
    told = study.get_trials(deepcopy=False)
    assert [trial.state for trial in told] == [TrialState.COMPLETE] * 16
    folder.fetch()
    assert [record.number for record in folder.trial_records()] == list(range(16))


def _attempts(study: Any) -> int:
    study._storage.reread_running()  # a plan may have been seen before what is noted beside it
    return sum("attempts" in trial.user_attrs for trial in study.get_trials(deepcopy=False))


def _until(done: Any, *running: Fork) -> None:
    ends = time.monotonic() + 60
    while not done():
        assert time.monotonic() < ends, [each.said() for each in running]
        time.sleep(0.05)
