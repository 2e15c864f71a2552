"""F1: a search is killed 50 times at random points; no finished trial is lost or repeated."""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path

from autoprune.domain.record import TrialRecord
from benchmarks.faults import fake_search
from benchmarks.faults.finding import Finding
from benchmarks.faults.forked import fork, kill, wait

KILLS, TRIALS = 50, 300


def run(kills: int = KILLS, count: int = TRIALS) -> Finding:
    """Kill and continue a search, then let it finish and compare it with its records before."""
    dice, wrong, resumed = random.Random(0), [], []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        known: dict[int | None, TrialRecord] = {}
        done_kills = 0
        while done_kills < kills and len(known) < count:
            began, before = time.time(), sum(fake_search.evaluations(root).values())
            pid = fork(lambda: fake_search.search(root, count, sampler="random"))
            while (
                sum(fake_search.evaluations(root).values()) == before and time.time() - began < 60
            ):
                time.sleep(0.02)
            resumed.append(fake_search.last_begun(root) - began)
            time.sleep(dice.uniform(0, 0.25))
            kill(pid)
            wait(pid)
            done_kills += 1
            now = {record.number: record for record in fake_search.records(root)}
            lost = [number for number, record in known.items() if now.get(number) != record]
            wrong += [f"kill {done_kills}: trial {number} lost or changed" for number in lost]
            known = now
        if wait(fork(lambda: fake_search.search(root, count, sampler="random"))) != 0:
            wrong.append("the last run failed")
        begun, done = fake_search.evaluations(root), fake_search.evaluations(root, "done")
        numbers = [record.number for record in fake_search.records(root)]
        if numbers != list(range(count)):
            wrong.append(f"{len(numbers)} records of {count} trials, or a number twice")
        redone = sum(begun.values()) - len(begun)
        finished_again = sum(times - 1 for times in done.values())
        if redone > done_kills:
            wrong.append(f"{redone} trials redone after {done_kills} kills")
        wrong += [f"{finished_again} finished trials made again"] * (finished_again > 0)
        wrong += ["resuming took more than 10 s"] * (max(resumed) > 10)
    found = {
        "trials": count,
        "lost": sum("lost" in each for each in wrong),
        "begun again": redone,
        "finished and made again": finished_again,
        "longest until the next trial, s": round(max(resumed), 2),
    }
    return Finding(done_kills, found, wrong)
