"""Claim: the first run convinces, on any machine: the README's command in five situations.

    python benchmarks/claims/first_run.py [--situations quiet one-core busy half-speed speedup2]
        [--seeds 0 1 2] [--resume] [--table]

`autoprune search --budget-ms 5` on the bundled demo, each run in a process of its own with a fresh
studies folder and empty caches, 8 minutes each: let nothing else run meanwhile. What is done is in
the results file after each run; `--resume` does the rest. What stops and continues the search takes
about 5 % of a core itself. In the end, or at once with `--table`, it prints the table and which
goals hold.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import checkout  # noqa: F401

from autoprune.latency.runner import describe_machine, machine_state
from benchmarks.lib.disturbance import Tree, busy_neighbour, half_speed
from benchmarks.lib.first_run import SITUATIONS, command, read_run
from benchmarks.lib.first_run_table import render
from benchmarks.lib.provenance import RESULTS, provenance, write_results

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "from autoprune.cli.main import main; main()"  # what the command `autoprune` runs
GIVE_UP_S = 3600.0  # a run that hangs is ended
LOOK_S = 5.0  # how often new processes of the search are noted, to leave none behind


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--situations", nargs="+", choices=SITUATIONS, default=list(SITUATIONS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--budget-ms", type=float, default=5.0)
    parser.add_argument("--timeout", type=float, help="s; the demo's own limit if left out")
    parser.add_argument("--studies", type=Path, default=Path("studies/first-run"))
    parser.add_argument("--results", type=Path, default=RESULTS / "first_run.json")
    parser.add_argument("--resume", action="store_true", help="keep the runs that are finished")
    parser.add_argument("--table", action="store_true", help="run nothing")
    asked = parser.parse_args()
    settings = {"budget_ms": asked.budget_ms, "timeout_s": asked.timeout}
    old = json.loads(asked.results.read_text()) if asked.results.exists() else None
    if asked.table:
        print(render(old) if old else f"{asked.results.name}: no runs yet")
        return
    rows = finished(old, settings) if asked.resume and old else []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all that was begun ends
    for situation in asked.situations:
        for seed in asked.seeds:
            if any((row["situation"], row["seed"]) == (situation, seed) for row in rows):
                print(f"{situation}, seed {seed}: done before")
                continue
            if situation == "one-core" and shutil.which("taskset") is None:
                print("one-core: left out: there is no taskset")
                continue
            print(f"{situation}, seed {seed}: {SITUATIONS[situation]}", flush=True)
            rows.append(run(situation, seed, asked))
            made = provenance("torch", "ultralytics", "optuna", "onnxruntime")
            write_results(asked.results, {"claim": "first run", **settings, "rows": rows, **made})
    print(render({**settings, "rows": rows}))


def finished(old: dict[str, Any], settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs of an earlier results file; refused where they cannot stand beside new ones."""
    here = {**settings, "machine": describe_machine()}
    for key, value in here.items():
        if old[key] != value:
            raise SystemExit(f"--resume: the finished runs have {key} {old[key]}, not {value}")
    rows: list[dict[str, Any]] = old["rows"]
    return rows


def run(situation: str, seed: int, asked: argparse.Namespace) -> dict[str, Any]:
    """One search from its start to its exit, as a row."""
    studies = fresh(asked.studies / f"{situation}-seed{seed}")
    arguments = command(situation, asked.budget_ms, seed, asked.timeout)
    load = machine_state()["load_1min"]
    with contextlib.ExitStack() as stack:
        cache = stack.enter_context(tempfile.TemporaryDirectory(prefix="first-run-cache-"))
        log = stack.enter_context((studies / "log.txt").open("wb"))
        if situation == "busy":
            stack.enter_context(busy_neighbour())
        pinned = ["taskset", "-c", "0"] if situation == "one-core" else []
        began, began_s = datetime.now(timezone.utc), time.monotonic()
        process = subprocess.Popen(
            [*pinned, sys.executable, "-c", PROGRAM, *arguments, "--studies", str(studies)],
            cwd=ROOT,
            env={**os.environ, "XDG_CACHE_HOME": cache, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # the leader of a group of its own
        )
        tree = stack.enter_context(ended(process))
        if situation == "half-speed":
            stack.enter_context(half_speed(process.pid))
        exit_code = waited(process, tree, began_s)
        wall_s = time.monotonic() - began_s
    row = {
        "situation": situation,
        "seed": seed,
        "date": began.isoformat(timespec="seconds"),
        "load_1min": load,
        "exit_code": exit_code,
        "wall_s": round(wall_s, 1),
        **read_run(studies, began),
    }
    print(f"  {wall_s:.0f} s, exit {exit_code}, {row['scored']} plans scored", flush=True)
    return row


def waited(process: subprocess.Popen[bytes], tree: Tree, began_s: float) -> int | None:
    """The exit code; None where it did not end."""
    while time.monotonic() - began_s < GIVE_UP_S:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(timeout=LOOK_S)
        tree.look()
    return None


@contextlib.contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[Tree]:
    """The search and what it starts; nothing of it is left afterwards, however the body ends."""
    tree = Tree(process.pid)
    try:
        yield tree
    finally:
        tree.end()
        process.poll()


def fresh(folder: Path) -> Path:
    """A new folder of that name; with a number where an earlier run left one."""
    numbered = (folder.with_name(f"{folder.name}-{number}") for number in range(2, 1000))
    for each in (folder, *numbered):
        with contextlib.suppress(FileExistsError):
            each.mkdir(parents=True)
            return each.resolve()
    raise SystemExit(f"{folder}: too many earlier runs")


if __name__ == "__main__":
    main()
