"""One worker of a study whose evaluations only wait: what is left is the framework's own time."""

from __future__ import annotations

import json
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from autoprune.domain.record import TrialRecord
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.optuna_inside import folder_storage
from autoprune.search.evaluate import trials
from autoprune.search.evaluate.candidate import Candidate
from autoprune.search.evaluate.trials import TrialLoop
from autoprune.search.evaluate.workers import Here
from benchmarks.lib.wide_bench import invented, wide_bench, wide_study
from tests.search.fakes import FakeEvaluation, fake_bench, unlimited
from tests.search.shared import close_all, shared_bench


@dataclass(frozen=True)
class Gap:
    """What lies between the end of one evaluation and the beginning of the next in one worker.

    Attributes:
        number: Of the trial that begins.
        seconds: In all.
        cpu_s: Of this process's processor time.
        database_s: Of waiting for the database.
        statements, commits: Sent to it; a commit that wrote nothing does not count.
    """

    number: int
    seconds: float
    cpu_s: float
    database_s: float
    statements: int
    commits: int


class _Database:
    """Counts what this process sends to its databases."""

    def __init__(self) -> None:
        self.statements = self.commits = 0
        self.seconds = self._began = 0.0
        self._wrote = False
        event.listen(Engine, "before_cursor_execute", self._before)
        event.listen(Engine, "after_cursor_execute", self._after)
        event.listen(Engine, "engine_connect", self._connected)

    def _before(self, _c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self._wrote |= not statement.startswith("SELECT")
        self.statements += 1
        self._began = time.monotonic()

    def _after(self, *_: Any) -> None:
        self.seconds += time.monotonic() - self._began

    def _connected(self, connection: Any) -> None:
        dialect = connection.engine.dialect
        if not hasattr(dialect, "timed_commit"):
            dialect.timed_commit, dialect.do_commit = dialect.do_commit, self._committing(dialect)

    def _committing(self, dialect: Any) -> Any:
        def commit(connection: Any) -> None:
            began = time.monotonic()
            dialect.timed_commit(connection)
            self.seconds += time.monotonic() - began
            self.commits += self._wrote
            self._wrote = False

        return commit


class Waiting:
    """Answers after some seconds, and notes what happened between two questions.

    Args:
        seconds: Of an evaluation, on average; each takes half to one and a half times that.
        seed: Of these times.
    """

    def __init__(self, seconds: float, seed: int) -> None:
        self.seconds, self.dice = seconds, random.Random(seed)
        self.gaps: list[Gap] = []
        self._database = _Database()
        self._answered: tuple[float, ...] | None = None

    def __call__(self, candidate: Candidate) -> TrialRecord:
        """Answer about a candidate."""
        if self._answered is not None and candidate.number is not None:
            parts = [now - then for now, then in zip(self._now(), self._answered, strict=True)]
            seconds, cpu_s, database_s, *counts = parts
            gap = Gap(candidate.number, seconds, cpu_s, database_s, *map(int, counts))
            self.gaps.append(gap)
        made = invented(candidate)  # as an evaluation has made it, however long that takes
        time.sleep(self.seconds * self.dice.uniform(0.5, 1.5))
        self._answered = self._now()
        return made

    def _now(self) -> tuple[float, ...]:
        known = self._database
        spent = time.monotonic(), time.process_time(), known.seconds
        return *spent, known.statements, known.commits


def work(root: Path, url: str | None, count: int, seconds: float, seed: int, notes: Path) -> None:
    """Work on a study until all its trials are done; writes the gaps as JSON.

    Args:
        root: This worker's folder of the study.
        url: The database; None where the study is in the folder.
        count: Trials.
        seconds: Of an evaluation.
        seed: Of how they vary.
        notes: The file.
    """
    waiting = Waiting(seconds, seed)
    trials.evaluate_untrained = FakeEvaluation(waiting)  # type: ignore[attr-defined]
    bare: Any = fake_bench(root, count) if url is None else shared_bench(root, url, count)
    bench, listener = wide_bench(bare), SearchListener()
    shared = bench.folder.shared
    with bench.folder.alone(".prepare.lock"):  # as a search: one makes the tables
        storage = folder_storage(bench.folder.database) if shared is None else shared.storage
        study = wide_study(bench, storage)
    TrialLoop(bench, study, unlimited(), listener, Here(bench, listener)).run()
    close_all()
    notes.write_text(json.dumps([asdict(gap) for gap in waiting.gaps]))
