"""F3: Ctrl-C and SIGTERM at six moments of a real search: exit in 15 s, nothing left, resumable."""

from __future__ import annotations

import random
import signal
import tempfile
import time
from pathlib import Path

from benchmarks.faults.finding import Finding
from benchmarks.faults.real_search import RealSearch

TIMES, MOST_S = 6, 15.0
INTERRUPTED = 130


def run(times: int = TIMES) -> Finding:
    """The same study all the time, each time a little further."""
    dice, wrong, seconds, orphans, reports = random.Random(1), [], [], 0, 0
    with tempfile.TemporaryDirectory() as folder:
        search = RealSearch(Path(folder))
        for number in range(times):
            kind = (signal.SIGINT, signal.SIGTERM)[number % 2]
            process = search.begin()
            search.wait_until_at_work(process)
            time.sleep(dice.uniform(0, 15))
            if process.poll() is not None:
                process.communicate()
                wrong.append(f"{kind.name} {number}: had ended with {process.returncode} before")
                continue
            began = time.monotonic()
            process.send_signal(kind)
            _, err = process.communicate()
            seconds.append(round(time.monotonic() - began, 1))
            left = search.processes()
            orphans += len(left)
            reports += (search.study.report / "report.html").exists()
            if process.returncode != INTERRUPTED or "Traceback" in err:
                wrong.append(f"{kind.name} {number}: exit {process.returncode}: {err[-300:]}")
            if seconds[-1] > MOST_S:
                wrong.append(f"{kind.name} {number}: {seconds[-1]} s")
            wrong += [f"{kind.name} {number}: {one} is left" for one in left]
        last = search.begin()
        _, err = last.communicate()
        if last.returncode not in (0, 3):
            wrong.append(f"the last run: exit {last.returncode}: {err[-300:]}")
    found = {"seconds until the exit": seconds, "orphans": orphans, "with a report": reports}
    return Finding(times, found, wrong)
