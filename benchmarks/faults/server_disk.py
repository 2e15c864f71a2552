"""F43: the disk of a PostgreSQL server fills up 12 times under two workers: they wait and go on."""

from __future__ import annotations

import contextlib
import os
import random
import time
from pathlib import Path

from benchmarks.faults.fake_search import evaluations
from benchmarks.faults.finding import Finding
from benchmarks.faults.forked import fork, kill, wait
from benchmarks.faults.small_disk import NO_DISK, fill, small_disk
from benchmarks.faults.soak import NO_LIMIT, Place, Watch, judged
from tests.postgres import Postgres, missing, running_server

TIMES, WORKERS = 12, 2
SIZE = 160_000_000  # a new database cluster and its log take 100 MB
LEFT = 200_000  # bytes at most: some are full at once, some after a few trials
FULL_S = 8.0  # how long it stays so
MOST_S = 60.0  # until the next trial, once there is room


def run(times: int = TIMES) -> Finding:
    """Fill it, make room, look for the next trial; the server is started again where it stopped."""
    if (why := missing()) is not None:
        return Finding(0, {"not run": why}, ["not run"])
    with small_disk(SIZE) as disk:
        if disk is None:
            return NO_DISK
        settings = {"fsync": "on", "max_wal_size": "32MB", "min_wal_size": "32MB"}
        with running_server(settings, disk) as server:
            return _filled(disk, server, times)


def _filled(disk: Path, server: Postgres, times: int) -> Finding:
    dice, filler = random.Random(0), disk / "filler"
    root = Path(server.folder).parent.parent / "workers"  # beside the disk, not on it
    root.mkdir()
    place = Place(root, server.new_database())
    if (code := wait(fork(lambda: place.search("worker-0", 0, None)))) != 0:
        return Finding(0, {}, [f"the study cannot be made: exit {code}"])
    watch, at_work = Watch(place), [_begun(place, number) for number in range(WORKERS)]
    waits: list[float | None] = []
    stopped, held_up = 0, 0
    try:
        _next_trial(root)
        for _ in range(times):
            fill(filler, dice.randrange(0, LEFT))
            time.sleep(FULL_S / 2)
            before = _done(root)
            time.sleep(FULL_S / 2)
            held_up += _done(root) == before
            filler.unlink()
            stopped += _up_again(server)
            waits.append(_next_trial(root))
            watch.look()
        codes = [_ended(pid) for pid in at_work]
        watch.wrong += [f"a worker ended with {code}" for code in codes if code is not None]
    finally:
        for pid in at_work:
            kill(pid)
            with contextlib.suppress(ChildProcessError):  # it has ended before
                wait(pid)
    found, wrong = judged(place, watch)
    wrong += ["after some there was no trial"] * any(wait_s is None for wait_s in waits)
    counted = {
        "no trial in the last 4 s of it": held_up,
        "the server stopped by itself": stopped,
        "longest until the next trial, s": max((each for each in waits if each), default=None),
    }
    return Finding(times, counted | found, wrong)


def _begun(place: Place, number: int) -> int:
    return fork(lambda: place.search(f"worker-{number}", NO_LIMIT, None))


def _ended(pid: int) -> int | None:
    """Its exit code; None while it works."""
    gone, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if gone else None


def _done(root: Path) -> int:
    return evaluations(root, "done").total()


def _next_trial(root: Path) -> float | None:
    """Seconds until each worker can have done one more; None where that takes long."""
    began, before = time.monotonic(), _done(root)
    while _done(root) <= before + WORKERS:
        if time.monotonic() > began + MOST_S:
            return None
        time.sleep(0.05)
    return round(time.monotonic() - began, 2)


def _up_again(server: Postgres) -> bool:
    """Start the server where it ended for want of room; whether it had."""
    if (server.folder / "data" / "postmaster.pid").exists():
        return False
    server.start()
    return True
