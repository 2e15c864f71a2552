"""Claim: what a trial costs besides its evaluation, with one worker and with many.

    python benchmarks/claims/throughput.py [--trials 1000] [--rate 5]

A fake evaluation waits and invents a score; so the time between the end of one and the beginning of
the next, in one worker, is the framework's: sampler, gates, storage, records. Workers wait so long
that all of them together ask for `rate` trials a second. PostgreSQL is a server of its own in a
temporary folder, on this machine, with its usual durability.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import checkout  # noqa: F401
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.lib.provenance import provenance, save_results
from tests.postgres import missing, running_server

ROOT = Path(__file__).resolve().parents[2]
SETUPS = (("SQLite", 1), ("SQLite", 4), ("PostgreSQL", 4), ("PostgreSQL", 16), ("PostgreSQL", 64))
LAST = 0.1  # of all trials: those "at trial 1,000"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--trials", type=int, default=1000)
    arguments.add_argument("--rate", type=float, default=5.0, help="trials a second, all workers")
    asked = arguments.parse_args()
    if (why := missing()) is not None:
        raise SystemExit(why)
    rows = []
    shown = Table("kept in", "workers", "trials/s", "median ms", "p99 ms", "last: median", "p99")
    for kind, workers in SETUPS:
        with _database(kind) as url:
            row = measured(kind, workers, url, asked.trials, workers / asked.rate)
        rows.append(row)
        numbers = ("median_ms", "p99_ms", "last_median_ms", "last_p99_ms")
        cells = (f"{row[key]:.0f}" for key in numbers)
        shown.add_row(kind, str(workers), f"{row['trials_per_s']:.1f}", *cells)
        Console().print(shown)
    content = {"trials": asked.trials, "rate": asked.rate, "last": LAST, "rows": rows}
    save_results("throughput", content | provenance("optuna", "sqlalchemy", "psycopg"))


@contextmanager
def _database(kind: str) -> Iterator[str | None]:
    if kind == "SQLite":
        yield None
        return
    with running_server({"fsync": "on"}) as server:
        yield server.database_with_tables()


def measured(
    kind: str, workers: int, url: str | None, trials: int, seconds: float
) -> dict[str, Any]:
    """Run the trials with so many workers, each evaluation taking so many seconds."""
    with tempfile.TemporaryDirectory() as work:
        notes = [Path(work) / f"{place}.json" for place in range(workers)]
        folders = [Path(work) / ("study" if url is None else f"study-{p}") for p in range(workers)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        if url is not None:
            environment["AUTOPRUNE_STORAGE"] = url
        began = time.monotonic()
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.lib.fake_worker", str(folder), str(trials),
                 str(seconds), str(note)],
                cwd=ROOT,
                env=environment,
            )
            for folder, note in zip(folders, notes, strict=True)
        ]  # fmt: skip
        if any(process.wait() for process in running):
            raise SystemExit(f"{kind}, {workers} workers: one of them failed")
        elapsed_s = time.monotonic() - began
        gaps = [gap for note in notes for gap in json.loads(note.read_text())]
    own = np.array([1e3 * gap for _, gap in gaps])
    last = np.array([1e3 * gap for number, gap in gaps if number >= trials * (1 - LAST)])
    return {
        "kept_in": kind,
        "workers": workers,
        "evaluation_s": seconds,
        "trials_per_s": trials / elapsed_s,
        "median_ms": float(np.median(own)),
        "p99_ms": float(np.quantile(own, 0.99)),
        "last_median_ms": float(np.median(last)),
        "last_p99_ms": float(np.quantile(last, 0.99)),
    }


if __name__ == "__main__":
    main()
