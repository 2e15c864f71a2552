"""F7: a real disk that fills up 12 times under a search: named, nothing lost, it goes on."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from autoprune.errors import StorageFailed
from autoprune.search.evaluate.open_study import database_errors
from benchmarks.faults import fake_search
from benchmarks.faults.finding import Finding
from tests.search.fakes import fake_bench

TIMES, SIZE = 12, 4_000_000
TRIALS = 150


def run(times: int = TIMES) -> Finding:
    """A file system of 4 MB in memory, filled but for a few kB each time."""
    if os.getuid() != 0:
        return Finding(0, {"not run": "a disk can only be made by root"}, ["not run"])
    dice, seen, wrong = random.Random(0), Counter[str](), []
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", folder]
        if subprocess.run(mount, capture_output=True).returncode:
            return Finding(0, {"not run": "no file system can be mounted here"}, ["not run"])
        try:
            root = Path(folder) / "study"
            root.mkdir()
            fake_search.search(root, 2)
            filled = known = 0
            while filled < times and known < TRIALS:
                before = {each.number: each for each in fake_search.records(root)}
                filler = Path(folder) / "filler"
                _fill(filler, Path(folder), dice.randrange(0, 60_000))
                seen[_searched(root)] += 1
                filled += 1
                filler.unlink()
                after = {each.number: each for each in fake_search.records(root)}
                wrong += [f"trial {n} lost or changed" for n in before if after.get(n) != before[n]]
                known = len(after) + 3
                fake_search.search(root, known)  # it goes on
            numbers = [each.number for each in fake_search.records(root)]
            wrong += ["numbers are missing"] * (numbers != list(range(len(numbers))))
            wrong += [f"ended by {name}" for name in seen if name not in _NAMED]
            drafts = [path.name for path in root.rglob(".*.??????*") if path.is_file()]
            wrong += [f"left behind: {drafts}"] * bool(drafts)
        finally:
            subprocess.run(["umount", folder], check=True)
    return Finding(filled, {"ended by": dict(seen), "trials": len(numbers)}, wrong)


_NAMED = {"the system's error: exit 4", "StorageFailed: exit 4", "had room enough"}


def _searched(root: Path) -> str:
    """How a search ends on that disk."""
    bench = fake_bench(root)
    try:
        with database_errors(bench):
            fake_search.search(root, len(fake_search.records(root)) + 40)
    except StorageFailed:
        return "StorageFailed: exit 4"
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return "the system's error: exit 4" if full else f"OSError {error.errno}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "had room enough"


def _fill(filler: Path, disk: Path, left: int) -> None:
    with filler.open("wb") as stream:
        status = os.statvfs(disk)
        stream.write(bytes(max(0, status.f_bavail * status.f_frsize - left)))
