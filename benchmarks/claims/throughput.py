"""Claim: what a trial costs besides its evaluation, with one worker and with many.

    python benchmarks/claims/throughput.py [--rate 10] [--only PostgreSQL-64] [--try]

An evaluation waits and invents a score; so the time between the end of one and the beginning of the
next, in one worker, is the framework's: sampler, gates, storage, records. Space, sampler and solver
are the demo's own. Workers wait so long that all of them together ask for `rate` trials a second;
64 of them ask for fewer, since they stand for 64 machines on the cores of one, and each reads what
the others found. Each setup's row is kept as soon as it is there.
PostgreSQL is a server of its own in a temporary folder, on this machine, with its usual durability.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import checkout  # noqa: F401
import numpy as np
import psutil
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.faults.forked import fork, wait
from benchmarks.lib.fake_worker import work
from benchmarks.lib.provenance import RESULTS, provenance, save_results
from benchmarks.lib.wide_bench import model
from tests.postgres import Postgres, missing, running_server

SETUPS = (("SQLite", 1), ("SQLite", 4), ("PostgreSQL", 4), ("PostgreSQL", 16), ("PostgreSQL", 64))
CROWD = 64, 0.3  # so many workers ask for this share of the rate
LAST = 0.1  # of all trials: those "at trial 1,000"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--trials", type=int, default=1000)
    arguments.add_argument("--rate", type=float, default=10.0, help="trials a second, all workers")
    arguments.add_argument("--only", action="append", help="of these, such as PostgreSQL-64")
    arguments.add_argument("--try", dest="tried", action="store_true", help="keep nothing")
    asked = arguments.parse_args()
    if (why := missing()) is not None:
        raise SystemExit(why)
    torch.set_num_threads(1)
    model()  # once, for all workers: they are forks of this process
    rows = []
    shown = Table("kept in", "workers", "trials/s", *(heading for heading, _ in COLUMNS))
    for kind, workers in SETUPS:
        if asked.only and f"{kind}-{workers}" not in asked.only:
            continue
        rate = asked.rate * (CROWD[1] if workers >= CROWD[0] else 1.0)
        with _database(kind) as server:
            row = measured(kind, workers, server, asked.trials, workers / rate)
        rows.append(row)
        cells = (f"{row[key]:.0f}" for _, key in COLUMNS)
        shown.add_row(kind, str(workers), f"{row['trials_per_s']:.1f}", *cells)
        Console(width=120).print(shown)
        if not asked.tried:
            _keep(asked.trials, rows)


def _keep(trials: int, rows: list[dict[str, Any]]) -> None:
    """Write the results file; a setup that was not run now keeps its row, of as many trials."""
    file = RESULTS / "throughput.json"
    known = json.loads(file.read_text()) if file.exists() else {"rows": []}
    kept = known["rows"] if known.get("trials") == trials else []
    found = {(row["kept_in"], row["workers"]): row for row in (*kept, *rows)}
    ordered = [found[setup] for setup in SETUPS if setup in found]
    content = {"trials": trials, "last": LAST, "rows": ordered}
    save_results("throughput", content | provenance("optuna", "sqlalchemy", "psycopg"))


COLUMNS = (
    ("median ms", "median_ms"),
    ("p99 ms", "p99_ms"),
    ("last: median", "last_median_ms"),
    ("p99", "last_p99_ms"),
    ("its CPU", "last_cpu_ms"),
    ("database", "last_database_ms"),
    ("statements", "statements"),
    ("commits", "commits"),
)


@contextmanager
def _database(kind: str) -> Iterator[Postgres | None]:
    if kind == "SQLite":
        yield None
        return
    with running_server({"fsync": "on"}) as server:
        yield server


def measured(
    kind: str, workers: int, server: Postgres | None, trials: int, seconds: float
) -> dict[str, Any]:
    """Run the trials with so many workers, each evaluation taking so many seconds."""
    url = None if server is None else server.database_with_tables()
    before_s = _cpu_s(server)
    with tempfile.TemporaryDirectory() as work_folder:
        root = Path(work_folder)
        notes = [root / f"{place}.json" for place in range(workers)]
        began = time.monotonic()
        running = [
            fork(lambda place=place: work(root / ("study" if url is None else f"study-{place}"),  # type: ignore[misc]
                                          url, trials, seconds, place, notes[place]))
            for place in range(workers)
        ]  # fmt: skip
        ended = [wait(pid) for pid in running]
        if any(ended):
            raise SystemExit(f"{kind}, {workers} workers: one of them failed")
        elapsed_s = time.monotonic() - began
        gaps = [gap for note in notes for gap in json.loads(note.read_text())]
    last = [gap for gap in gaps if gap["number"] >= trials * (1 - LAST)]
    every_ms, last_ms = _milliseconds(gaps, "seconds"), _milliseconds(last, "seconds")
    return {
        "kept_in": kind,
        "workers": workers,
        "evaluation_s": seconds,
        "trials_per_s": trials / elapsed_s,
        "median_ms": float(np.median(every_ms)),
        "p99_ms": float(np.quantile(every_ms, 0.99)),
        "last_median_ms": float(np.median(last_ms)),
        "last_p99_ms": float(np.quantile(last_ms, 0.99)),
        "last_cpu_ms": float(np.median(_milliseconds(last, "cpu_s"))),
        "last_database_ms": float(np.median(_milliseconds(last, "database_s"))),
        "statements": float(np.median([gap["statements"] for gap in last])),
        "commits": float(np.median([gap["commits"] for gap in last])),
        "server_cpu_ms": 1e3 * (_cpu_s(server) - before_s) / trials,
    }


def _milliseconds(gaps: list[dict[str, Any]], part: str) -> Any:
    return np.array([1e3 * gap[part] for gap in gaps])


def _cpu_s(server: Postgres | None) -> float:
    """What the server's processes have used, those that are gone included."""
    if server is None:
        return 0.0
    pid = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
    times = psutil.Process(pid).cpu_times()
    alive = [each.cpu_times() for each in psutil.Process(pid).children()]
    own = times.user + times.system + times.children_user + times.children_system
    return own + sum(each.user + each.system for each in alive)


if __name__ == "__main__":
    main()
