"""F43: three workers on PostgreSQL whose clocks are a day apart; two are killed and replaced."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.faults.fake_search import evaluations
from benchmarks.faults.finding import Finding
from benchmarks.faults.forked import fork, wait
from benchmarks.faults.soak import Place, Watch, judged
from tests.postgres import missing, running_server

TRIALS = 90
SHIFTS = ("-1d", "+0d", "+1d")
MOST_S = 300.0
ROOT = Path(__file__).resolve().parents[2]


def run(trials: int = TRIALS) -> Finding:
    """Each worker's clock is set by libfaketime (Debian's package); the server has the true one."""
    why = missing() or (None if _libfaketime() else "libfaketime is not installed")
    if why is not None:
        return Finding(0, {"not run": why}, ["not run"])
    with tempfile.TemporaryDirectory() as folder, running_server() as server:
        place = Place(Path(folder), server.new_database())
        if (code := wait(fork(lambda: place.search("worker-0", 0, None)))) != 0:
            return Finding(0, {}, [f"the study cannot be made: exit {code}"])
        watch = Watch(place)
        workers = {shift: _begun(place, shift, trials) for shift in SHIFTS}
        try:
            for part, shift in enumerate((SHIFTS[2], SHIFTS[0]), 1):
                _wait_for(place.root, part * trials // 3)
                workers[shift].kill()
                workers[shift].wait()
                workers[shift] = _begun(place, shift, trials)
                watch.look()
            for shift, worker in workers.items():
                if (code := worker.wait(MOST_S)) != 0:
                    watch.wrong.append(f"the worker at {shift} ended with {code}")
        finally:
            for worker in workers.values():
                worker.kill()
                worker.wait()
        found, wrong = judged(place, watch)
    return Finding(len(SHIFTS) - 1, {"clocks": list(SHIFTS), "killed": 2} | found, wrong)


def _begun(place: Place, shift: str, trials: int) -> subprocess.Popen[bytes]:
    clock = {
        "LD_PRELOAD": str(_libfaketime()),
        "FAKETIME": shift,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    asked = [str(place.root), str(place.url), f"worker{shift}", str(trials)]
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.faults.clocks", *asked],
        cwd=ROOT,
        env={**os.environ, **clock},
        stdin=subprocess.DEVNULL,
    )


def _libfaketime() -> Path | None:
    return next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


def _wait_for(root: Path, count: int) -> None:
    ends = time.monotonic() + MOST_S
    while evaluations(root, "done").total() < count and time.monotonic() < ends:
        time.sleep(0.1)


if __name__ == "__main__":  # as one of the workers
    root, url, name, count = sys.argv[1:]
    Place(Path(root), url).search(name, int(count), None)
