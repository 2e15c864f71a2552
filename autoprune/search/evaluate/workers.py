"""Workers evaluate candidates: one after the other here, or side by side in processes."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import Any, Protocol

import psutil
import torch

from autoprune.domain.config import USUAL_WORKERS, StudyConfig
from autoprune.domain.record import TrialRecord
from autoprune.errors import ConfigError
from autoprune.evaluation.device import available_bytes, count_idle_cores, usable_cores
from autoprune.evaluation.watchdog import end_paused
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.workbench import Informed
from autoprune.search.evaluate.candidate import Candidate
from autoprune.search.evaluate.processes import CannotStart, Processes
from autoprune.search.evaluate.supervisor import LEAST_BYTES, NEEDED, Limits, Supervisor

FEWEST_TRIALS = 8  # starting processes takes as long as scoring a few plans

Work = Callable[..., TrialRecord]
"""(bench, candidate, listener, more ...) -> the candidate's record, written to disk."""


class Workers(Protocol):
    """Where candidates are evaluated."""

    @property
    def count(self) -> int:
        """How many at once."""

    def begin(self, work: Work, candidate: Candidate, *more: Any) -> Future[TrialRecord]:
        """Begin to evaluate a candidate; it is done at once where there is one worker only."""

    def wait(self, futures: Collection[Future[TrialRecord]]) -> None:
        """Return when at least one of those is done."""

    def close(self) -> None:
        """End whatever is under way; nothing can begin any more."""


class Here:
    """The one worker that is this process.

    Beyond its limits it ends, as a search that is paused; the next one records the failure.

    Args:
        bench: The study.
        listener: Hears the stages.
        limits: Of one candidate.
    """

    count = 1

    def __init__(
        self, bench: Informed, listener: SearchListener, limits: Limits | None = None
    ) -> None:
        self.bench, self.listener = bench, listener
        self.limits = limits or Limits()
        self._supervisor = Supervisor(self.limits.most_bytes)

    def begin(self, work: Work, candidate: Candidate, *more: Any) -> Future[TrialRecord]:
        """See `Workers.begin`."""
        future: Future[TrialRecord] = Future()
        folder, most_s = candidate.folder(self.bench.folder), self.limits.seconds(work, more)

        def end(why: str) -> None:
            end_paused(f"{candidate.name}: {why}; the same command continues without it")

        with self._supervisor.watching(os.getpid(), folder, most_s, end):
            future.set_result(work(self.bench, candidate, self.listener, *more))
        return future

    def wait(self, futures: Collection[Future[TrialRecord]]) -> None:
        """See `Workers.wait`: all are done."""

    def close(self) -> None:
        """See `Workers.close`: nothing is under way."""


def workers_for(bench: Informed, listener: SearchListener) -> Workers:
    """As many workers as were asked for; else as idle cores and free memory allow.

    Processes that cannot be started are said, and this one works alone.
    """
    asked = bench.config.workers_local or len(bench.config.devices)
    count = asked or useful_workers(bench)
    own_bytes = _own_bytes()
    alone = Limits.of(bench, 1, own_bytes)
    if count == 1:
        return Here(bench, listener, alone)
    try:
        limits, gpus = Limits.of(bench, count, own_bytes), bench.config.devices
        workers = Processes(bench, count, threads_of_one(count), listener, limits, gpus)
    except (CannotStart, OSError, RuntimeError, pickle.PicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        listener.say(f"Worker processes do not start ({reason}): this process works alone.")
        return Here(bench, listener, alone)
    listener.say(f"{count} processes score and train side by side; none while latency is measured.")
    return workers


def useful_workers(bench: Informed) -> int:
    """How many workers idle cores and memory allow; one where a GPU or few trials say so."""
    limit = bench.trial_limit
    if bench.device != "cpu" or (limit is not None and limit < FEWEST_TRIALS):
        return 1
    by_memory = available_bytes() // max(LEAST_BYTES, int(NEEDED * _own_bytes()))
    return max(1, min(USUAL_WORKERS, count_idle_cores() // threads_of_one(), by_memory))


def _own_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


def threads_of_one(count: int = USUAL_WORKERS) -> int:
    """Threads of one of so many workers: for up to USUAL_WORKERS the same, for the same results."""
    return max(1, (os.cpu_count() or 1) // max(count, USUAL_WORKERS))


def check_workers(config: StudyConfig) -> None:
    """Refuse more workers than this machine has room for; up to USUAL_WORKERS are the user's say.

    Raises:
        ConfigError: Too few cores or GPUs, or too little memory.
    """
    gpus = torch.cuda.device_count() if config.devices else 0
    if gpus < len(config.devices):
        shown = ",".join(map(str, config.devices))
        raise ConfigError.of("--devices", "", shown, f"GPUs of this machine; {gpus} of them answer")
    asked = config.workers_local or len(config.devices)
    if asked <= USUAL_WORKERS:
        return
    flag = "--workers" if config.workers_local else "--devices"
    cores, room = usable_cores(), available_bytes() // LEAST_BYTES
    if asked > cores:
        raise ConfigError.of(flag, "", f"{asked} workers", f"at most {cores}: a core for each")
    if asked > room:
        most = max(room, USUAL_WORKERS)
        expected = f"at most {most}: {LEAST_BYTES / 1e9:g} GB of free memory for each"
        raise ConfigError.of(flag, "", f"{asked} workers", expected)
