"""F3: Ctrl-C and SIGTERM at six moments of a real search: exit in 15 s, nothing left, resumable."""

from __future__ import annotations

import random
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.faults.finding import Finding
from benchmarks.faults.real_search import TRIALS, RealSearch

# What of the study must be there; then it goes on for a moment and is interrupted.
MOMENTS = (
    "outcome.yaml", "dense/record.json", "latency_predictor.json", "trials/0002/record.json",
    "trials/*/model.onnx", "trials/*/model.pt",
)  # fmt: skip
DENSE = "dense/record.json"
LATER_S, MOST_S = 3.0, 15.0
MORE = 2  # trials that each run adds, so that none has ended before it is interrupted
INTERRUPTED = 130


def run(times: int = len(MOMENTS)) -> Finding:
    """The same study all the time, each time a little further."""
    dice, wrong, seconds, orphans, reports = random.Random(1), [], [], 0, 0
    with tempfile.TemporaryDirectory() as folder:
        search = RealSearch(Path(folder))
        for number, moment in enumerate(MOMENTS[:times]):
            kind = (signal.SIGINT, signal.SIGTERM)[number % 2]
            process = search.begin("--trials", str(TRIALS + MORE * number))
            search.wait_until_at_work(process)
            _wait_for(search, process, moment)
            time.sleep(dice.uniform(0, LATER_S))
            if process.poll() is not None:
                _, err = process.communicate()
                wrong.append(f"{moment}: ended with {process.returncode} before: {err[-300:]}")
                continue
            began = time.monotonic()
            process.send_signal(kind)
            said, err = process.communicate()
            seconds.append(round(time.monotonic() - began, 1))
            left = search.processes()
            orphans += len(left)
            reported = (search.study.report / "report.html").exists()
            reports += reported
            if process.returncode != INTERRUPTED or "Traceback" in err:
                wrong.append(f"{moment}: exit {process.returncode}: {err[-300:]}")
            if "Interrupted" not in said:
                wrong.append(f"{moment}: it does not say so: {said[-300:]}")
            if not reported and (search.study.root / DENSE).exists():
                wrong.append(f"{moment}: no report of what is finished")
            if seconds[-1] > MOST_S:
                wrong.append(f"{moment}: {seconds[-1]} s until the exit")
            wrong += [f"{moment}: {one} is left" for one in left]
        last = search.begin("--trials", str(TRIALS + MORE * len(MOMENTS)))
        _, err = last.communicate()
        if last.returncode not in (0, 3):
            wrong.append(f"the last run: exit {last.returncode}: {err[-300:]}")
    found = {"seconds until the exit": seconds, "orphans": orphans, "with a report": reports}
    return Finding(times, found, wrong)


def _wait_for(search: RealSearch, process: subprocess.Popen[str], moment: str) -> None:
    while process.poll() is None and not any(search.study.root.glob(moment)):
        time.sleep(0.05)
