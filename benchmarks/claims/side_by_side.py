"""Claim: two processes score plans faster than one, and the number of processes changes no plan.

    python benchmarks/claims/side_by_side.py [--trials 16] [--speedup 2]

The demo is calibrated and the target's latency learned once; then the same trials are run by one
process and by two (more where there are more cores), each in a study of its own.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import checkout  # noqa: F401
from rich.console import Console
from rich.table import Table

from autoprune.domain.config import MOST_WORKERS, StudyConfig
from autoprune.domain.goal import Goal
from autoprune.domain.stages import CALIBRATION, PREDICTOR, TRIALS
from autoprune.evaluation.device import count_idle_cores, use_threads
from autoprune.evaluation.quiet import prepare_environment
from autoprune.search.context.budget import Budget
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.prepare import check
from autoprune.search.context.workbench import Informed
from autoprune.search.evaluate.open_study import open_study
from autoprune.search.evaluate.processes import Processes
from autoprune.search.evaluate.trials import TrialLoop
from autoprune.search.evaluate.workers import Here, Workers, threads_of_one
from autoprune.search.learn.calibration import calibrated
from autoprune.search.learn.dense import measured
from autoprune.search.learn.predicting import informed
from autoprune.storage.study_folder import StudyFolder
from benchmarks.lib.provenance import provenance, save_results

SILENT = SearchListener()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--trials", type=int, default=16)
    arguments.add_argument("--speedup", type=float, default=2.0)
    asked = arguments.parse_args()
    prepare_environment()
    counts = [1, *range(2, min(MOST_WORKERS, count_idle_cores()) + 1)]
    with tempfile.TemporaryDirectory() as folder:
        bench = known_bench(Path(folder), asked.trials, asked.speedup)
        use_threads(threads_of_one())  # as a worker's: the same results to the last digit
        rows = [scored(bench, Path(folder) / str(count), count) for count in counts]
    one_s, results = rows[0]["trials_s"], rows[0]["results"]
    shown = Table("processes", "s to start", "s for the trials", "times as fast", "same results")
    for row in rows:
        row |= {"speed": one_s / row["trials_s"], "same": row.pop("results") == results}
        numbers = (f"{row[key]:.1f}" for key in ("start_s", "trials_s"))
        shown.add_row(str(row["processes"]), *numbers, f"{row['speed']:.2f}", str(row["same"]))
    Console().print(shown)
    content = {"trials": asked.trials, "speedup": asked.speedup, "rows": rows}
    save_results("side_by_side", content | provenance("optuna", "ultralytics"))


def known_bench(folder: Path, trials: int, speedup: float) -> Informed:
    """The demo, measured, calibrated, its latency learned."""
    goal = Goal(kind="speedup", value=speedup)
    config = StudyConfig(goal=goal, trials=trials, reuse=False, name="known")
    bench = measured(check(config, folder, SILENT), SILENT)
    unlimited = Budget(None)
    ranked = calibrated(bench, unlimited.open(CALIBRATION), SILENT)
    return informed(ranked, unlimited.open(PREDICTOR), SILENT)


def scored(bench: Informed, folder: Path, count: int) -> dict[str, Any]:
    """Run the trials by so many processes."""
    folder.mkdir()
    bench = replace(bench, folder=StudyFolder(folder))
    began = time.monotonic()
    workers: Workers = Here(bench, SILENT)
    if count > 1:
        workers = Processes(bench, count, threads_of_one(), SILENT)
    with closing(workers):
        start_s, began = time.monotonic() - began, time.monotonic()
        study = open_study(bench, SILENT)
        TrialLoop(bench, study, Budget(None).open(TRIALS), SILENT, workers).run()
    records = bench.folder.trial_records()
    return {
        "processes": count,
        "start_s": start_s,
        "trials_s": time.monotonic() - began,
        "results": [(record.plan, record.untrained_map50_95) for record in records],
    }


if __name__ == "__main__":
    main()
