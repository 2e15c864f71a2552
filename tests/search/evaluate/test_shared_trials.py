"""The trial loop on PostgreSQL: several workers, several folders, one study."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from autoprune.search.evaluate import trials
from tests.search.fakes import FakeEvaluation, fake_loop
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
print("ready", flush=True)
fake_loop(shared_bench(Path(sys.argv[1]), os.environ["DATABASE"], trials=int(sys.argv[2]))).run()
"""


def _worker(root: Path, database: str, trials: int, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _WORKER, str(root), str(trials), str(seconds)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "DATABASE": database}
    return subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)


def test_workers_in_two_folders_share_a_study_and_one_that_is_killed_is_replaced(
    tmp_path: Path, database: str
) -> None:
    workers = [_worker(tmp_path / name, database, 16, 0.05) for name in ("a", "b")]
    doomed = _worker(tmp_path / "c", database, 16, 600.0)
    for worker in (*workers, doomed):
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    folder = shared_folder(tmp_path / "d", database)
    study = of_database(folder).study
    _until(lambda: any(tmp_path.glob("c/trials/*")) or _attempts(study))
    os.kill(doomed.pid, signal.SIGKILL)
    doomed.communicate(timeout=60)
    for worker in workers:
        _, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors
    told = study.get_trials(deepcopy=False)
    assert [trial.state for trial in told] == [TrialState.COMPLETE] * 16
    folder.fetch()
    assert [record.number for record in folder.trial_records()] == list(range(16))


def _attempts(study: Any) -> int:
    return sum("attempts" in trial.user_attrs for trial in study.get_trials(deepcopy=False))


def _until(done: Any) -> None:
    ends = time.monotonic() + 60
    while not done():
        assert time.monotonic() < ends
        time.sleep(0.05)
