"""F4: killed 200 times while writing records, plans, reports and notes: old or new, never half."""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

from autoprune.domain.outcome import Outcome
from autoprune.domain.plan import PruningPlan
from autoprune.domain.progress import Moment, append_moment, read_moments
from autoprune.domain.record import TrialRecord
from autoprune.storage.leftovers import tidy
from autoprune.storage.study_folder import StudyFolder
from autoprune.storage.yaml_io import load_yaml, write_atomic
from benchmarks.faults.finding import Finding
from benchmarks.faults.forked import fork, kill, wait
from tests.search.fakes import record

KILLS = 200
PAGE = 3_000_000  # bytes of a report
MOMENT = Moment(
    at_s=0,
    name="trial 7",
    evidence="predicted",
    trained=False,
    latency_ms=4,
    map50_95=0.5,
    hypervolume=0.1,
    scored=3,
    fine_tuned=0,
)


def run(kills: int = KILLS) -> Finding:
    """Kill writers of every kind of file at random moments, and read what is there."""
    dice, broken, wrong = random.Random(0), Counter[str](), []
    with tempfile.TemporaryDirectory() as folder:
        study = StudyFolder(Path(folder))
        _write_all(study, 0)
        for number in range(1, kills + 1):
            pid = fork(partial(_write_for_ever, study, number))
            time.sleep(dice.uniform(0.005, 0.06))
            kill(pid)
            wait(pid)
            for name, error in _unreadable(study, number):
                broken[name] += 1
                wrong.append(f"kill {number}: {name}: {error}")
        drafts = _drafts(study)
        for draft in drafts:
            os.utime(draft, (1, 1))  # as if the next search came a minute later
        tidy(study, [".prepare.lock"])
        left = len(_drafts(study))
    wrong += [f"{left} drafts are left"] * bool(left)
    found = {"unreadable": sum(broken.values()), "drafts": len(drafts), "after tidying": left}
    return Finding(kills, found, wrong)


def _drafts(study: StudyFolder) -> list[Path]:
    return [path for path in study.root.rglob(".*") if path.is_file() and path.suffix != ".lock"]


def _write_for_ever(study: StudyFolder, number: int) -> None:
    while True:
        number += 1
        _write_all(study, number)


def _write_all(study: StudyFolder, number: int) -> None:
    ratio = number % 90 / 100
    plan = PruningPlan({0: ratio, 1: ratio, 2: None, 3: (ratio, ratio)})
    study.save_record(record("trial 7", 4.0, 0.5, number=7, plan=plan, seconds=float(number)))
    plan.save(study.trial(7) / "plan.yaml")
    plan.save(study.best_plan)
    Outcome(status="running").save(study.outcome)
    write_atomic(study.report / "report.html", f"{number:08d}" * (PAGE // 8))
    study.add_stage_seconds("trials", 0.5)
    append_moment(study.progress, MOMENT.model_copy(update={"at_s": float(number)}))


def _unreadable(study: StudyFolder, kills: int) -> list[tuple[str, str]]:
    """Files that cannot be read, or hold a mixture; and why."""

    def page() -> None:
        text = (study.report / "report.html").read_bytes()
        assert text == text[:8] * (PAGE // 8), "a mixture"

    def moments() -> None:
        lines = study.progress.read_bytes().count(b"\n")
        assert len(read_moments(study.progress)) >= lines - kills, "more than one a kill is torn"

    readers = {
        "record.json": lambda: TrialRecord.load(study.trial(7) / "record.json"),
        "plan.yaml": lambda: PruningPlan.load(study.trial(7) / "plan.yaml"),
        "best.yaml": lambda: load_yaml(study.best_plan),
        "outcome.yaml": study.load_outcome,
        "stages.json": study.stage_seconds,
        "report.html": page,
        "progress.jsonl": moments,
    }
    found = []
    for name, read in readers.items():
        try:
            read()
        except Exception as error:
            found.append((name, f"{type(error).__name__}: {error}"))
    return found
