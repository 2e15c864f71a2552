"""Workers end with their search, with all that they started, and are replaced by nobody then."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from autoprune.domain.record import TrialRecord
from autoprune.search.context.listener import SearchListener
from autoprune.search.evaluate import processes
from autoprune.search.evaluate.candidate import Candidate
from autoprune.search.evaluate.processes import CannotStart

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 240.0  # what hangs does so for ever; to end takes a second, of a core that is shared


def sleep(bench: Any, given: Candidate, listener: SearchListener) -> TrialRecord:
    """What a worker is asked to do; it imports it from here."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    listener.say(f"process {os.getpid()} {child.pid}")
    time.sleep(600)
    raise AssertionError("woke up")


_READY = """
import pickle, sys
pickle.dump(("ready", None), sys.stdout.buffer)
sys.stdout.flush()
sys.stdin.read()
"""


def test_a_worker_that_dies_while_the_search_ends_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "PROGRAM", _READY)
    worker = processes._Worker(tmp_path / "bench.pt", 1, lambda event: None)
    worker.started()
    worker.end()
    with pytest.raises(CannotStart, match="the search ends"):
        worker.start_again()
    assert worker._process.returncode is not None


def test_a_worker_that_answers_rubbish_is_killed_before_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take the files of all workers with it, if it ended because its input does."""
    monkeypatch.setattr(processes, "PROGRAM", _READY)
    worker = processes._Worker(tmp_path / "bench.pt", 1, lambda event: None)
    worker.started()
    first = worker._process
    worker.start_again()
    assert first.returncode == -signal.SIGKILL
    worker.end()


_READING = """
import io, queue, sys, threading
from autoprune.search.evaluate.worker import _read
given = (io.BytesIO(bytes.fromhex(sys.argv[2])), queue.SimpleQueue())
reading = threading.Thread(target=_read, args=given)  # as in a worker
reading.start()
reading.join()
raise SystemExit("it went on without being told anything more")
"""


@pytest.mark.parametrize(
    ("task", "code"),
    [(b"", 0), (pickle.dumps("x" * 99)[:50], 0), (b"cnot_there\nname\n.", 1)],
    ids=["nobody there", "half a task", "not readable"],
)
def test_a_worker_ends_with_its_search_and_at_a_task_that_it_cannot_read(
    tmp_path: Path, task: bytes, code: int
) -> None:
    bench = tmp_path / "workers" / "bench.pt"
    bench.parent.mkdir()
    bench.touch()
    command = [sys.executable, "-c", _READING, str(bench), task.hex()]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == code, ended.stderr
    assert bench.exists() == (code == 1), "its files are its search's as long as that is there"
    assert ("No module named 'not_there'" in ended.stderr) == (code == 1)
    assert "went on" not in ended.stderr


_SEARCH = """
import signal
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from autoprune.search.evaluate import processes
from autoprune.storage.study_folder import StudyFolder
from tests.search.evaluate.test_processes import Told, candidate
from tests.search.evaluate.test_processes_end import sleep

signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever these tests were begun with

class Shown(Told):
    def say(self, text):
        print(text, flush=True)

processes._for_workers = lambda bench: bench
bench = SimpleNamespace(folder=StudyFolder(Path("x")))
with closing(processes.Processes(bench, 1, 1, Shown())) as workers:
    work = workers.begin(sleep, candidate())
    # before it waits
    workers.wait([work])
"""
# As Ctrl-C may, if it comes while `wait` looks at the future.
_LOCK_LEFT_HELD = "work._condition.acquire()"


@pytest.mark.parametrize(
    ("number", "before"),
    [(signal.SIGKILL, ""), (signal.SIGINT, ""), (signal.SIGINT, _LOCK_LEFT_HELD)],
    ids=["SIGKILL", "SIGINT", "SIGINT at a bad moment"],
)
def test_no_worker_outlives_its_search(
    tmp_path: Path,
    number: signal.Signals,
    before: str,
    start: Callable[..., subprocess.Popen[bytes]],
) -> None:
    """Not even in the middle of its work; and nothing that it started, and none of their files."""
    search = start(
        [sys.executable, "-c", _SEARCH.replace("# before it waits", before)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert search.stdout is not None
    said = search.stdout.readline().split()
    worker, child = (psutil.Process(int(pid)) for pid in said[1:])
    search.send_signal(number)
    worker.wait(PATIENCE_S)
    child.wait(PATIENCE_S)
    search.communicate(timeout=PATIENCE_S)
    assert search.returncode in (-number, 130)
    assert not list(tmp_path.rglob("workers-*"))
