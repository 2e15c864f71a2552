"""F43: three workers on PostgreSQL whose clocks are a day apart; two are killed and replaced."""

from __future__ import annotations

import os
import shutil
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
DAY_S = 86400
SHIFTS_S = (-DAY_S, 0, DAY_S)
MOST_S = 300.0
ROOT = Path(__file__).resolve().parents[2]
# The time of day alone: what waits, waits by another clock.
LIBRARY = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *found) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, found);
    if (!failed && clock == CLOCK_REALTIME) found->tv_sec += atol(getenv("SHIFT_S"));
    return failed;
}

int gettimeofday(struct timeval *restrict found, void *restrict zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    found->tv_sec = now.tv_sec;
    found->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *found) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (found) *found = now.tv_sec;
    return now.tv_sec;
}
"""


def run(trials: int = TRIALS) -> Finding:
    """Each worker's clock is shifted by a library that is loaded before all others."""
    why = missing() or (None if shutil.which("cc") else "no C compiler")
    if why is not None:
        return Finding(0, {"not run": why}, ["not run"])
    with tempfile.TemporaryDirectory() as folder, running_server() as server:
        place = Place(Path(folder), server.new_database())
        library = _compiled(place.root)
        if (code := wait(fork(lambda: place.search("worker-0", 0, None)))) != 0:
            return Finding(0, {}, [f"the study cannot be made: exit {code}"])
        watch = Watch(place)
        workers = {shift: _begun(place, library, shift, trials) for shift in SHIFTS_S}
        try:
            for part, shift in enumerate((DAY_S, -DAY_S), 1):
                _wait_for(place.root, part * trials // 3)
                workers[shift].kill()
                workers[shift].wait()
                workers[shift] = _begun(place, library, shift, trials)
                watch.look()
            for shift, worker in workers.items():
                if (code := worker.wait(MOST_S)) != 0:
                    watch.wrong.append(f"the worker that is {shift} s ahead ended with {code}")
        finally:
            for worker in workers.values():
                worker.kill()
                worker.wait()
        found, wrong = judged(place, watch)
    return Finding(2, {"clocks, s ahead": list(SHIFTS_S), "killed": 2} | found, wrong)


def _compiled(folder: Path) -> Path:
    source, library = folder / "shift.c", folder / "shift.so"
    source.write_text(LIBRARY)
    command = ["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return library


def _begun(place: Place, library: Path, shift_s: int, trials: int) -> subprocess.Popen[bytes]:
    asked = [str(place.root), str(place.url), f"worker{shift_s}", str(trials)]
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.faults.clocks", *asked],
        cwd=ROOT,
        env={**os.environ, "LD_PRELOAD": str(library), "SHIFT_S": f"{shift_s}"},
        stdin=subprocess.DEVNULL,
    )


def _wait_for(root: Path, count: int) -> None:
    ends = time.monotonic() + MOST_S
    while evaluations(root, "done").total() < count and time.monotonic() < ends:
        time.sleep(0.1)


def _main() -> None:
    """As one of the workers."""
    root, url, name, count = sys.argv[1:]
    with tempfile.NamedTemporaryFile() as file:  # its time is the kernel's
        ahead_s = time.time() - os.stat(file.name).st_mtime
    if abs(ahead_s - float(os.environ["SHIFT_S"])) > DAY_S / 2:
        raise SystemExit(f"the clock is {ahead_s:.0f} s ahead")
    Place(Path(root), url).search(name, int(count), None)


if __name__ == "__main__":
    _main()
