"""F2, F16, F17: workers that compute for ever, take all memory, crash or are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil

from autoprune.domain.plan import PruningPlan
from autoprune.domain.record import TrialRecord
from autoprune.search.context.listener import SearchListener
from autoprune.search.evaluate import processes
from autoprune.search.evaluate.attempts import attempt
from autoprune.search.evaluate.candidate import Candidate
from autoprune.search.evaluate.processes import Processes
from autoprune.search.evaluate.supervisor import Limits
from autoprune.storage.study_folder import StudyFolder
from benchmarks.faults.finding import Finding
from tests.search.fakes import failed, scored

LIMIT_S, LIMIT_BYTES = 60.0, 1_000_000_000  # a new worker loads its modules within it
SPARE_S = 10.0
KINDS = {"compute": "timeout", "take": "oom", "crash": "crash", "die": "oom"}
EACH = 3
_BUSY = "import time; ends = time.time() + 300\nwhile time.time() < ends: pass"  # if all else fails


def misbehave(bench: Any, given: Candidate, listener: SearchListener, kind: str) -> TrialRecord:
    """What a worker does that must be ended."""
    with attempt(given.folder(bench.folder)) as refused:
        if refused is not None:
            return failed(given).model_copy(update={"failure": refused})
        begun = given.folder(bench.folder) / f"begun-{time.time_ns()}-{os.getpid()}"
        begun.touch()
        if kind == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if kind == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "compute":
            subprocess.Popen([sys.executable, "-c", _BUSY])
        taken = []
        while True:
            if kind == "take":
                taken.append(b"x" * 20_000_000)
                time.sleep(0.01)


def behave(bench: Any, given: Candidate, listener: SearchListener) -> TrialRecord:
    """What the others do meanwhile."""
    return scored(given.number or 0, 4.0, 0.5)


def run(each: int = EACH) -> Finding:
    """Each kind a few times, with one worker beside it that goes on."""
    wrong: list[str] = []
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    processes._for_workers = lambda bench: bench
    with tempfile.TemporaryDirectory() as folder:
        bench: Any = SimpleNamespace(folder=StudyFolder(Path(folder)))
        limits = Limits(score_s=LIMIT_S, most_bytes=LIMIT_BYTES)
        with closing(Processes(bench, 2, 1, SearchListener(), limits)) as workers:
            _warm(workers)
            for number, kind in enumerate(list(KINDS) * each):
                candidate = Candidate("trial", f"trial {number}", number, PruningPlan({0: 0.5}))
                began = time.time()
                bad = workers.begin(misbehave, candidate, kind)
                good = workers.begin(behave, candidate)
                gone = _gone(bench.folder.trial(number), bad)
                seconds[kind].append(round(gone - began, 1))
                while not (bad.done() and good.done()):
                    workers.wait([one for one in (bad, good) if not one.done()])
                wrong += _judged(bench, kind, number, bad.result())
                if seconds[kind][-1] > LIMIT_S + SPARE_S:
                    wrong.append(f"{kind}: ended after {seconds[kind][-1]} s")
    left = [child.pid for child in psutil.Process().children(recursive=True)]
    wrong += [f"processes left: {left}"] * bool(left)
    found = {
        f"{kind}, s from its begin until it was gone": times for kind, times in seconds.items()
    }
    return Finding(each * len(KINDS), {"limit, s": LIMIT_S, **found}, wrong)


def _warm(workers: Processes) -> None:
    """Let each worker load what the work needs, which is none of its limit."""
    both = [workers.begin(behave, Candidate("trial", "warm", 0, PruningPlan({0: 0.5})))
            for _ in range(workers.count)]  # fmt: skip
    while not all(one.done() for one in both):
        workers.wait([one for one in both if not one.done()])


def _gone(folder: Path, work: Future[TrialRecord]) -> float:
    """Wait for the first attempt, and until its process is gone; when that was.

    Raises:
        RuntimeError: It was ended before it began.
    """
    while not (marks := sorted(folder.glob("begun-*"))):
        if work.done():
            raise RuntimeError(f"ended before it began: {work.result().failure}")
        time.sleep(0.02)
    pid = int(marks[0].name.split("-")[2])
    while psutil.pid_exists(pid):
        time.sleep(0.02)
    return time.time()


def _judged(bench: Any, kind: str, number: int, made: TrialRecord) -> list[str]:
    failure, tries = made.failure, len(list(bench.folder.trial(number).glob("begun-*")))
    wrong = []
    if failure is None or failure.reason != KINDS[kind]:
        wrong.append(f"{kind}: {failure}, expected {KINDS[kind]}")
    expected = 2 if kind in {"crash", "die"} else 1
    if tries != expected:
        wrong.append(f"{kind}: {tries} attempts, expected {expected}")
    return wrong
