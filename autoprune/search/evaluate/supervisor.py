"""Supervisor: ends a process whose work on a candidate takes too long or too much memory."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from autoprune.domain.record import Failure
from autoprune.evaluation.device import available_bytes
from autoprune.search.context.workbench import Informed
from autoprune.search.evaluate.attempts import forget_attempts, note_end
from autoprune.search.evaluate.candidate import train_candidate

LOOK_S = 0.5  # between two looks
LEAST_S = 600.0  # that anything may take
TIMES = 5.0  # what it took with the dense model, or is estimated to take
_TRAINING = 3.0  # times what validation takes, per image
_SHARE = 0.9  # of the memory that is available when workers start
LEAST_BYTES = 1_000_000_000
NEEDED = 1.5  # times what the search takes now, for a worker that trains


@dataclass(frozen=True)
class Limits:
    """What one candidate may take.

    Attributes:
        score_s: Seconds of a score without training.
        train_s: Seconds of a fine-tune with its validation.
        most_bytes: Memory of the process that works on it and of those it started.
    """

    score_s: float = LEAST_S
    train_s: float = LEAST_S
    most_bytes: int = sys.maxsize

    @classmethod
    def of(cls, bench: Informed, count: int, own_bytes: int) -> Limits:
        """Five times what the dense model's numbers say, ten minutes at least.

        Args:
            bench: The study; its dense model is validated and timed.
            count: Workers, among which the memory that is available now is shared out.
            own_bytes: What the search takes already. One and a half times that is always allowed,
                and where it is the one worker, this much is its own.
        """
        images = max(1, len(bench.data.selection_images))
        validation_s = sum(score.seconds for score in bench.dense.rungs)
        trained = bench.fine_tune.epochs * len(bench.data.train)
        training_s = _TRAINING * trained * validation_s / images
        score_s = max(LEAST_S, TIMES * bench.dense.seconds)
        free = available_bytes() + (own_bytes if count == 1 else 0)
        most_bytes = max(int(_SHARE * free) // count, int(NEEDED * own_bytes), LEAST_BYTES)
        return cls(score_s, score_s + TIMES * training_s, most_bytes)

    def seconds(self, work: Callable[..., Any], more: tuple[Any, ...]) -> float:
        """How long a piece of work may take.

        Args:
            work: As for `Workers.begin`.
            more: Likewise; a fine-tune that is to be cut short has its seconds there.
        """
        if work is not train_candidate:
            return self.score_s
        most_s = more[1] if len(more) > 1 else None
        return self.train_s if most_s is None else min(self.train_s, 2 * most_s + self.score_s)


@dataclass
class _Work:
    """A process at work on a candidate.

    Attributes:
        done: Whether the work is.
        ended: Whether its process was ended instead.
        deciding: Held while one of the two comes true.
    """

    pid: int
    folder: Path
    most_s: float
    end: Callable[[str], object]
    done: threading.Event = field(default_factory=threading.Event)
    ended: bool = False
    deciding: threading.Lock = field(default_factory=threading.Lock)


class Supervisor:
    """Looks at processes twice a second while they work, and ends those beyond their limits.

    Looks are counted, not seconds: time in which this process is stopped does not count. Why a
    process is ended is noted in the candidate's folder first; see `attempt`.

    Args:
        most_bytes: Memory that each may take.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes

    @contextmanager
    def watching(
        self, pid: int, folder: Path, most_s: float, end: Callable[[str], object]
    ) -> Iterator[None]:
        """Watch a process while the body runs.

        Args:
            pid: The process.
            folder: Of the candidate that it works on.
            most_s: Seconds that it may take.
            end: Is given the reason, in words; ends it.
        """
        work = _Work(pid, folder, most_s, end)
        name = "autoprune-supervisor"
        threading.Thread(target=self._watch, args=(work,), daemon=True, name=name).start()
        try:
            yield
            with work.deciding:
                work.done.set()
            if work.ended:  # a moment after it was done
                forget_attempts(folder)
        finally:
            work.done.set()

    def _watch(self, work: _Work) -> None:
        waited_s = 0.0
        while not work.done.wait(LOOK_S):
            waited_s += LOOK_S
            failure = self._beyond(work, waited_s)
            if failure is None:
                continue
            with work.deciding:
                if not work.done.is_set():
                    work.ended = True
                    note_end(work.folder, failure)
                    work.end(failure.detail)
            return

    def _beyond(self, work: _Work, waited_s: float) -> Failure | None:
        if waited_s >= work.most_s:
            return Failure(reason="timeout", detail=f"not done after {work.most_s:.0f} s")
        taken = taken_bytes(work.pid)
        if taken <= self.most_bytes:
            return None
        detail = f"its process took {taken / 1e9:.2f} GB of {self.most_bytes / 1e9:.2f} GB"
        return Failure(reason="oom", detail=detail)


def taken_bytes(pid: int) -> int:
    """Memory that a process and those it started have for themselves, without mapped files."""
    taken = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                memory = each.memory_info()
                taken += memory.rss - getattr(memory, "shared", 0)
    return taken


def kill_all(pid: int) -> None:
    """Kill a process and those it started."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in (*process.children(recursive=True), process):
            with suppress(psutil.Error):
                each.kill()
