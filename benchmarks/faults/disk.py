"""F7: a real disk that fills up 12 times under a search: named, nothing lost, it goes on."""

from __future__ import annotations

import errno
import os
import random
from collections import Counter
from pathlib import Path

from autoprune.errors import StorageFailed
from autoprune.search.evaluate.open_study import database_errors
from benchmarks.faults import fake_search
from benchmarks.faults.finding import Finding
from benchmarks.faults.forked import DONE, fork, wait
from benchmarks.faults.small_disk import NO_DISK, fill, small_disk
from tests.search.fakes import fake_bench

TIMES, SIZE = 12, 4_000_000
TRIALS = 150


def run(times: int = TIMES) -> Finding:
    """A file system of 4 MB, filled but for a few kB each time."""
    with small_disk(SIZE) as disk:
        return NO_DISK if disk is None else _filled(disk, times)


def _filled(disk: Path, times: int) -> Finding:
    """Every search in a fork of its own, so that this process has nothing open on the disk."""
    dice, seen, filled = random.Random(0), Counter[str](), 0
    wrong: list[str] = []
    root, filler = disk / "study", disk / "filler"
    root.mkdir()
    _go_on(root, 2, wrong)
    while filled < times and len(fake_search.records(root)) < TRIALS:
        before = {each.number: each for each in fake_search.records(root)}
        fill(filler, dice.randrange(0, 60_000))
        seen[_ended_by(root, len(before) + 40)] += 1
        filled += 1
        filler.unlink()
        after = {each.number: each for each in fake_search.records(root)}
        wrong += [f"trial {n} lost or changed" for n in before if after.get(n) != before[n]]
        _go_on(root, len(after) + 3, wrong)
    numbers = [each.number for each in fake_search.records(root)]
    wrong += ["numbers are missing"] * (numbers != list(range(len(numbers))))
    wrong += [f"ended by {name}" for name in seen if name not in _NAMED]
    drafts = [str(path.relative_to(root)) for path in root.rglob(".*.??????*") if path.is_file()]
    wrong += [f"left behind: {drafts}"] * bool(drafts)
    return Finding(filled, {"ended by": dict(seen), "trials": len(numbers)}, wrong)


def _go_on(root: Path, count: int, wrong: list[str]) -> None:
    """The same command, with room enough."""
    if wait(fork(lambda: fake_search.search(root, count))) != DONE:
        wrong.append(f"with room enough it does not go on to {count} trials")


_NAMED = {"the system's error: exit 4", "StorageFailed: exit 4", "had room enough"}


def _ended_by(root: Path, count: int) -> str:
    """How a search ends on that disk."""
    reading, writing = os.pipe()
    pid = fork(lambda: os.write(writing, _searched(root, count).encode()))
    os.close(writing)
    with os.fdopen(reading) as said:
        ended_by = said.read()
    wait(pid)
    return ended_by


def _searched(root: Path, count: int) -> str:
    bench = fake_bench(root)
    try:
        with database_errors(bench):
            fake_search.search(root, count)
    except StorageFailed:
        return "StorageFailed: exit 4"
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return "the system's error: exit 4" if full else f"OSError {error.errno}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "had room enough"
