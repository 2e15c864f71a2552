"""A search whose evaluations cost 20 ms: the real loop, database, records and locks."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

from autoprune.domain.record import TrialRecord
from autoprune.search.evaluate import trials
from autoprune.search.evaluate.candidate import Candidate
from tests.search.fakes import FakeEvaluation, fake_bench, fake_loop, signature

SECONDS = 0.02
_LOG = "evaluations.log"


class Logged(FakeEvaluation):
    """Notes each evaluation when it begins and when its record is written."""

    def __init__(self, root: Path, seconds: float = SECONDS) -> None:
        super().__init__()
        self.log = os.open(root / _LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.seconds = seconds

    def __call__(self, bench: Any, candidate: Candidate, listener: Any) -> TrialRecord:
        """As the real one does."""
        now = time.time()
        os.write(self.log, f"begun {candidate.number} {now}\n".encode())
        time.sleep(self.seconds)
        made = super().__call__(bench, candidate, listener)
        os.write(self.log, f"done {candidate.number} {time.time()}\n".encode())
        return made


def search(root: Path, count: int, seed: int = 0, sampler: str = "profile") -> None:
    """Run or continue a search of so many trials, in this process."""
    trials.evaluate_untrained = Logged(root)  # type: ignore[attr-defined]
    fake_loop(fake_bench(root, trials=count, sampler=sampler, seed=seed)).run()


def evaluations(root: Path, kind: str = "begun") -> Counter[int]:
    """Trial -> how often its evaluation has begun, or is done."""
    path = root / _LOG
    lines = path.read_text().splitlines() if path.exists() else []
    return Counter(int(line.split()[1]) for line in lines if line.startswith(kind))


def last_begun(root: Path) -> float:
    """When the last evaluation began, by `time.time`."""
    lines = (root / _LOG).read_text().splitlines()
    return max(float(line.split()[2]) for line in lines if line.startswith("begun"))


def plans(root: Path) -> list[Any]:
    """The plans of the records, in the order of the trials."""
    return [signature(record.pruning_plan()) for record in records(root)]


def records(root: Path) -> list[TrialRecord]:
    """The records of the trials."""
    return fake_bench(root).folder.trial_records()
