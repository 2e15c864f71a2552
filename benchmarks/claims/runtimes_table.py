"""Claim: which plan is best depends on the runtime; what another runtime's plan costs.

    python benchmarks/claims/runtimes_table.py --folder DIR [--minutes 120] [--runtimes NAME ...]
        [--shares 0.6 0.4] [--models demo yolov8s] [--search-s 300] [--save]

The demo is searched under each runtime for each share of its dense latency; then every plan found
is timed in every runtime, interleaved with the dense model, and the files' mAP on val comes from
their runtime. yolov8s at 320 px has random weights: no mAP, its plans are those of `autoprune
probe` (channels ranked by weights alone; 70 s for each, not 110). A search of the demo in 150 s
scores so few plans that the table would compare luck. Runtimes not installed here are left out.

Each step runs in a process of its own and leaves a file in --folder: the same command goes on with
what is missing. After --minutes no step begins, and one that runs then is ended. With --save the
results file is written, of what is there.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import checkout  # noqa: F401

from autoprune.latency.runtimes import RUNTIMES
from benchmarks.lib import runtimes_steps as steps
from benchmarks.lib.provenance import provenance, save_results

NAME = "runtimes_table"
LIMIT_S = {
    "plan": 300.0,
    "cheapest": 300.0,
    "times": 600.0,
    "scores": 120.0,
}  # of one step, however much is left
FEWEST_S = 20.0  # with less left no step begins


def installed() -> list[str]:
    """The shipped runtimes whose packages are here, GPUs' aside."""
    return [
        row.name
        for row in RUNTIMES.shipped()
        if not row.on_gpu and all(map(importlib.util.find_spec, (*row.packages, *row.makers)))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="keeps what each step found")
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--runtimes", nargs="+", default=None)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.6, 0.4])
    parser.add_argument("--models", nargs="+", choices=steps.MODELS, default=list(steps.MODELS))
    parser.add_argument("--search-s", type=float, default=300.0, help="of one search of the demo")
    parser.add_argument("--save", action="store_true", help="write the results file")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.step:
        steps.run(asked.folder, asked.step, asked.search_s)
        return
    runtimes = asked.runtimes or installed()
    asked.folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + 60 * asked.minutes
    for step in wanted(asked.folder, asked.models, asked.shares, runtimes):
        left_s = deadline - time.monotonic()
        file = steps.file_of(asked.folder, step)
        if file.exists():
            continue
        if left_s < FEWEST_S:
            print(f"{' '.join(step)}: not begun, the time is over", flush=True)
            continue
        began = time.monotonic()
        done = in_child(asked, step, min(max(LIMIT_S[step[0]], 1.5 * asked.search_s), left_s))
        said = "done" if done and file.exists() else "not done (see log.txt)"
        print(f"{' '.join(step)}: {said}, {time.monotonic() - began:.0f} s", flush=True)
    content = steps.collected(asked.folder, asked.models, asked.shares, runtimes)
    print(json.dumps(content["rows"], indent=1))
    if asked.save:
        packages = [name for name in ("openvino", "ncnn", "nncf") if importlib.util.find_spec(name)]
        made = provenance("torch", "ultralytics", "onnxruntime", *packages)
        settings = {
            "shares": asked.shares,
            "search_s": asked.search_s,
            "probe_s": steps.PROBE_S,
            "runtimes": runtimes,
        }
        content = {"claim": "plans and runtimes", **settings, **content, **made}
        print(f"written: {save_results(NAME, content).name}")


def wanted(
    folder: Path, models: list[str], shares: list[float], runtimes: list[str]
) -> Iterator[list[str]]:
    """The steps in their order: plans of all models first, then their times, then the mAP."""
    for model in models:
        for share in shares:
            for runtime in runtimes:
                yield ["plan", model, f"{share:g}", runtime]
    if "demo" in models:
        yield ["cheapest", "demo"]
    for model in models:
        for runtime in runtimes:
            yield ["times", model, runtime]
    if "demo" in models:
        for runtime in runtimes:
            yield ["scores", "demo", "dense", runtime]
        for share in shares:
            for runtime in runtimes:
                for found_for in dict.fromkeys((runtime, runtimes[0])):
                    if steps.file_of(folder, ["plan", "demo", f"{share:g}", found_for]).exists():
                        yield ["scores", "demo", f"{share:g}-{found_for}", runtime]


def in_child(asked: argparse.Namespace, step: list[str], limit_s: float) -> bool:
    """One step in a process of its own; whether it ended well within its time."""
    settings = ["--folder", str(asked.folder), "--search-s", f"{asked.search_s:g}"]
    command: list[Any] = [sys.executable, __file__, *settings, "--step", *step]
    with (asked.folder / "log.txt").open("ab") as log:
        log.write(f"\n== {' '.join(step)}\n".encode())
        log.flush()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        try:
            return process.wait(limit_s) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


if __name__ == "__main__":
    main()
