"""Claim: what limits a thousand workers on one study. A simulation, not a measurement.

    python benchmarks/claims/many_workers.py [--evaluation 60] [--cores 8] [--round-trip-ms 0.3]

Discrete events, from what `throughput.py` measured on this machine: processor time of a worker and
of the server for a trial, and statements, each as a straight line over the number of workers. A
worker evaluates, thinks on its own processor, reads, makes a trial while it alone holds the study's
row, writes, and evaluates again. The server's cores serve in the order of arrival; a statement
waits for one round trip. Disks, memory and the network's width are taken to be no limit.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
from dataclasses import dataclass
from typing import Any

import checkout  # noqa: F401
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.lib.provenance import RESULTS, provenance, save_results

WORKERS = (16, 64, 256, 1000)
ALONE = 5  # statements that make a trial while the study's row is held, of Optuna's source
TRIALS = 10  # of each worker: the first one is left out
BATCH = 8  # trials made at once, in the batched variant
CONNECTIONS = 2  # of a worker: locks, and queries


@dataclass(frozen=True)
class Costs:
    """Of one trial, in seconds and statements, beside so many workers.

    Attributes:
        own_s: Of the worker's processor.
        server_s: Of the server's processor.
        statements: Sent to the server.
    """

    own_s: float
    server_s: float
    statements: float

    @property
    def of_statement_s(self) -> float:
        """Of the server's processor, each."""
        return self.server_s / self.statements


class Served:
    """So many servers, in the order of arrival."""

    def __init__(self, count: int) -> None:
        self.free_at = [0.0] * count
        self.busy_s = 0.0

    def serve(self, now: float, seconds: float) -> float:
        """When it is done."""
        done = max(now, heapq.heappop(self.free_at)) + seconds
        heapq.heappush(self.free_at, done)
        self.busy_s += seconds
        return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--evaluation", type=float, default=60.0, help="seconds, on average")
    parser.add_argument("--cores", type=int, default=8, help="of the database's machine")
    parser.add_argument("--round-trip-ms", type=float, default=0.3)
    asked = parser.parse_args()
    file = RESULTS / "throughput.json"
    if not file.exists():
        raise SystemExit(f"{file}: missing; run benchmarks/claims/throughput.py first")
    measured = [row for row in json.loads(file.read_text())["rows"] if row["server_cpu_ms"] > 0]
    if len(measured) < 2:
        raise SystemExit(f"{file}: got {len(measured)} rows with PostgreSQL, expected two or more")
    rows = []
    shown = Table("workers", *(heading for heading, _ in COLUMNS))
    for workers in WORKERS:
        for batch in (1, BATCH):
            costs = at(measured, workers)
            row = simulated(workers, costs, asked.cores, asked.round_trip_ms / 1e3,
                            asked.evaluation, batch)  # fmt: skip
            rows.append({"workers": workers, "batch": batch, **row})
            shown.add_row(str(workers), *(f"{rows[-1][key]:.3g}" for _, key in COLUMNS))
    Console().print(shown)
    content = {
        "evaluation_s": asked.evaluation,
        "cores": asked.cores,
        "round_trip_ms": asked.round_trip_ms,
        "measured_with": [row["workers"] for row in measured],
        "rows": rows,
    }
    save_results("many_workers", content | provenance("optuna", "sqlalchemy", "psycopg"))


COLUMNS = (
    ("trials made at once", "batch"),
    ("connections", "connections"),
    ("trials/s wanted", "wanted_per_s"),
    ("reached", "trials_per_s"),
    ("overhead: median ms", "median_ms"),
    ("p99 ms", "p99_ms"),
    ("server busy", "server_busy"),
    ("study's row held", "row_held"),
)


def at(measured: list[dict[str, Any]], workers: int) -> Costs:
    """Costs beside so many workers: a straight line through what was measured, rising or level."""
    counts = np.array([row["workers"] for row in measured], dtype=np.float64)

    def line(key: str) -> float:
        values = np.array([row[key] for row in measured])
        slope, start = np.polyfit(counts, values, 1)
        if slope <= 0:
            return float(values.mean())
        return float(max(start + slope * workers, values.min()))

    return Costs(line("last_cpu_ms") / 1e3, line("server_cpu_ms") / 1e3, line("statements"))


def simulated(
    workers: int, costs: Costs, cores: int, round_trip_s: float, evaluation_s: float, batch: int
) -> dict[str, float]:
    """Let them work.

    Args:
        workers: How many.
        costs: Of a trial beside so many.
        cores: Of the server.
        round_trip_s: Of a statement, beside its service.
        evaluation_s: On average; each takes half to one and a half times that.
        batch: Trials that are made in one transaction: one worker's for so many.
    """
    dice, server, row = random.Random(0), Served(cores), Served(1)
    alone = ALONE / batch
    shared = max(0.0, costs.statements - ALONE) / 2  # before the trial is made, and after it
    visits = {"read": shared, "write": shared}
    heap = [(evaluation_s * dice.uniform(0.0, 1.5), each, "own") for each in range(workers)]
    heapq.heapify(heap)
    began = [0.0] * workers
    ends: list[list[float]] = [[] for _ in range(workers)]
    overheads: list[float] = []
    while heap:
        now, each, stage = heapq.heappop(heap)
        if stage == "own":
            began[each] = now
            heapq.heappush(heap, (now + costs.own_s, each, "read"))
        elif stage == "make":
            held_s = alone * (costs.of_statement_s + round_trip_s)
            server.busy_s += alone * costs.of_statement_s
            heapq.heappush(heap, (row.serve(now, held_s), each, "write"))
        else:
            statements = visits[stage]
            after = server.serve(now, statements * costs.of_statement_s)
            after += statements * round_trip_s
            if stage == "read":
                heapq.heappush(heap, (after, each, "make"))
                continue
            ends[each].append(after)
            if len(ends[each]) > 1:
                overheads.append(after - began[each])
            if len(ends[each]) < TRIALS:
                seconds = evaluation_s * dice.uniform(0.5, 1.5)
                heapq.heappush(heap, (after + seconds, each, "own"))
    found = 1e3 * np.array(overheads)
    per_s = sum((len(own) - 1) / (own[-1] - own[0]) for own in ends)
    per_trial_s = server.busy_s / (workers * TRIALS), row.busy_s / (workers * TRIALS)
    return {
        "connections": CONNECTIONS * workers,
        "wanted_per_s": workers / evaluation_s,
        "trials_per_s": per_s,
        "median_ms": float(np.median(found)),
        "p99_ms": float(np.quantile(found, 0.99)),
        "server_busy": per_s * per_trial_s[0] / cores,
        "row_held": per_s * per_trial_s[1],
    }


if __name__ == "__main__":
    main()
