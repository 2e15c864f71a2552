"""F1, F39: a real search killed 20 times and continued: nothing lost, no process or litter left."""

from __future__ import annotations

import random
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from autoprune.domain.record import TrialRecord
from benchmarks.faults.finding import Finding
from benchmarks.faults.real_search import RealSearch

KILLS = 20
MORE = 3  # trials that each run adds, so that none has scored all before it is killed
LIVES_S = (0.0, 20.0)
SOON_S = (0.0, 2.0)  # after another trial is there, which every second kill waits for
YOUNG_S = 61.0  # a temporary folder younger than a minute may just be in the making
LISTED = re.compile(
    r"study\.(yaml|db)|space\.yaml|(profile|latency_predictor|calibration|verdict|stages)\.json"
    r"|outcome\.yaml|progress\.jsonl|report/(report\.html|(pareto|progress)\.png|(trials|pareto)\.csv)"
    r"|best\.(yaml|pt|onnx)|(dense|baselines/[^/]+|trials/\d{4})/"
    r"(plan\.yaml|record\.json|model\.(pt|onnx)|log\.txt)|latency/.*|data/.*"
)


def run(kills: int = KILLS) -> Finding:
    """Kill the search alone, as the system would, and look after each time."""
    dice, wrong = random.Random(0), list[str]()
    known: dict[str, TrialRecord] = {}
    with tempfile.TemporaryDirectory() as folder:
        search = RealSearch(Path(folder))
        hit = orphans = wanted = 0  # a search that had ended is not hit
        trials: list[int] = []
        for killed in range(1, kills + 1):
            wanted = MORE * killed
            process = search.begin("--trials", str(wanted))
            if killed % 4:  # else also while it loads and checks
                search.wait_until_at_work(process)
            if killed % 2:
                _wait_for_a_trial(search, process, min(len(known) + 1, wanted))
            time.sleep(dice.uniform(*(SOON_S if killed % 2 else LIVES_S)))
            hit += process.poll() is None
            process.kill()
            process.communicate()
            orphans += _orphans(search)
            now = {each.name: each for each in search.study.trial_records()}
            wrong += [
                f"kill {killed}: {name} lost" for name in known if _less(now.get(name), known[name])
            ]
            known = now
            trials.append(len(known))
        time.sleep(YOUNG_S)
        last = search.begin("--trials", str(wanted))
        _, said = last.communicate()
        if last.returncode not in (0, 3):
            wrong.append(f"the last run: exit {last.returncode}: {said[-300:]}")
        records = search.study.trial_records()
        if [each.number for each in records] != list(range(wanted)):
            wrong.append(f"{len(records)} records of {wanted} trials")
        left, odd = _bytes(search.root / "tmp"), _unlisted(search.study.root)
        wrong += [f"{left} bytes in the temporary folder"] * bool(left)
        wrong += [f"not in README's list: {name}" for name in odd]
        wrong += [f"{orphans} processes outlived their search"] * bool(orphans)
    found: dict[str, Any] = {"bytes left": left, "files not listed": len(odd), "orphans": orphans}
    found |= {"trials at each kill": trials, "trials": len(records)}
    return Finding(hit, found, wrong)


def _wait_for_a_trial(search: RealSearch, process: subprocess.Popen[str], count: int) -> None:
    """Until so many trials are recorded, or the process has ended."""
    while process.poll() is None and len(search.study.trial_records()) < count:
        time.sleep(0.05)


def _less(now: TrialRecord | None, before: TrialRecord) -> bool:
    """Whether something that was known is known no more."""
    return now is None or len(now.rungs) < len(before.rungs)


def _orphans(search: RealSearch, patience_s: float = 30.0) -> int:
    until = time.monotonic() + patience_s
    while (alive := search.processes()) and time.monotonic() < until:
        time.sleep(0.2)
    for process in alive:
        process.kill()
    return len(alive)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _unlisted(study: Path) -> list[str]:
    names = [str(path.relative_to(study)) for path in study.rglob("*") if path.is_file()]
    return [name for name in names if not LISTED.fullmatch(name) and not _is_lock(study / name)]


def _is_lock(path: Path) -> bool:
    """Whether it is what processes lock: hidden, empty, and kept, for the next one to lock."""
    hidden = path.name.startswith(".") and path.name.endswith(".lock")
    return hidden and not path.stat().st_size
