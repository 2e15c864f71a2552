"""How many workers there are, and what happens where processes cannot be had."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autoprune.domain.config import USUAL_WORKERS
from autoprune.errors import ConfigError
from autoprune.search.evaluate import supervisor, workers
from autoprune.search.evaluate.candidate import Candidate
from autoprune.search.evaluate.processes import CannotStart
from autoprune.search.evaluate.supervisor import Limits
from autoprune.search.evaluate.workers import (
    Here,
    check_workers,
    threads_of_one,
    useful_workers,
    workers_for,
)
from tests.search.fakes import FakeEvaluation, Heard, fake_bench

GIGABYTE = 10**9


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine of 8 cores and 64 GB, of which this process takes 1."""
    made = SimpleNamespace(idle=8, cores=8, free=64 * GIGABYTE)
    memory = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=GIGABYTE))
    monkeypatch.setattr(workers, "count_idle_cores", lambda: made.idle)
    monkeypatch.setattr(workers.os, "cpu_count", lambda: made.cores)
    monkeypatch.setattr(workers.psutil, "Process", lambda: memory)
    for module in (workers, supervisor):
        monkeypatch.setattr(module, "available_bytes", lambda: made.free)
    return made


@pytest.mark.parametrize(
    ("cores", "idle", "free", "count"),
    [
        (2, 2, 64, 2),
        (2, 1, 64, 1),  # beside a busy neighbour
        (4, 4, 64, 4),
        (8, 8, 64, USUAL_WORKERS),
        (8, 5, 64, 2),  # of two threads each
        (8, 8, 3.1, 2),  # each may need one and a half of what this process takes
        (8, 8, 0.5, 1),
    ],
)
def test_idle_cores_and_free_memory_decide(
    tmp_path: Path, machine: Any, cores: int, idle: int, free: float, count: int
) -> None:
    machine.cores, machine.idle, machine.free = cores, idle, int(free * GIGABYTE)
    assert useful_workers(fake_bench(tmp_path, trials=None)) == count


def test_on_a_gpu_or_for_a_few_trials_there_is_one(tmp_path: Path, machine: Any) -> None:
    bench = fake_bench(tmp_path, trials=60)
    assert useful_workers(bench) == USUAL_WORKERS
    bench.device = "cuda:0"
    assert useful_workers(bench) == 1
    assert useful_workers(fake_bench(tmp_path, trials=3)) == 1


def test_one_worker_is_this_process(tmp_path: Path, machine: Any) -> None:
    heard, bench = Heard(), fake_bench(tmp_path, trials=3)
    one = workers_for(bench, heard)
    plan = bench.space.plan({name: widths[0] for name, widths in bench.space.choices.items()})
    future = one.begin(FakeEvaluation(), Candidate("trial", "trial 0", 0, plan))
    assert isinstance(one, Here)
    assert future.result().name == "trial 0"
    one.wait([future, Future()])
    one.close()
    assert heard.said == []
    assert one.limits == Limits.of(bench, 1, GIGABYTE)
    assert one._supervisor.most_bytes == one.limits.most_bytes


def test_processes_that_do_not_start_are_said_and_this_one_works_alone(
    tmp_path: Path, machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    gpus: list[Any] = []
    limits: list[Limits] = []

    def broken(*given: Any) -> None:
        asked.append(given[1])
        gpus.append(given[5])
        limits.append(given[4])
        raise CannotStart("exit status 1, MemoryError")

    monkeypatch.setattr(workers, "Processes", broken)
    heard, bench = Heard(), fake_bench(tmp_path, trials=60)
    assert isinstance(workers_for(bench, heard), Here)
    assert asked == [USUAL_WORKERS]
    assert "exit status 1, MemoryError" in heard.said[0]
    bench.config = bench.config.model_copy(update={"workers_local": 2})  # whatever is idle
    alone = workers_for(bench, heard)
    assert isinstance(alone, Here)
    assert asked == [USUAL_WORKERS, 2]
    assert limits[1] == Limits.of(bench, 2, GIGABYTE)
    assert alone.limits == Limits.of(bench, 1, GIGABYTE)
    bench.config = bench.config.model_copy(update={"workers_local": None, "devices": (0, 2, 5)})
    assert isinstance(workers_for(bench, heard), Here)
    assert asked == [USUAL_WORKERS, 2, 3], "one for each GPU"
    assert gpus == [(), (), (0, 2, 5)]


def test_more_workers_than_the_machine_has_room_for_are_refused(
    tmp_path: Path, machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(**given: Any) -> Any:
        return fake_bench(tmp_path).config.model_copy(update=given)

    monkeypatch.setattr(workers, "usable_cores", lambda: machine.cores)
    monkeypatch.setattr(workers.torch.cuda, "device_count", lambda: 6)
    for fits in ({}, {"workers_local": 8}, {"devices": (0, 1, 2, 3, 4)}):
        check_workers(asked(**fits))
    machine.free = 6 * GIGABYTE
    refused = {
        "--workers: got '9 workers', expected at most 8: a core for each": {"workers_local": 9},
        "--workers: got '8 workers', expected at most 6: 1 GB": {"workers_local": 8},
        "--devices: got '7,8,9,10,11,12,13'": {"devices": tuple(range(7, 14))},
    }
    for words, given in refused.items():
        with pytest.raises(ConfigError) as caught:
            check_workers(asked(**given))
        assert words in str(caught.value)
    machine.cores = machine.free = 1
    check_workers(asked(workers_local=USUAL_WORKERS))  # the user's say, as ever


def test_threads_are_shared_out_and_the_same_for_a_few_workers(machine: Any) -> None:
    machine.cores = 16
    assert [threads_of_one(count) for count in (1, 2, 4, 5, 8, 16, 32)] == [4, 4, 4, 3, 2, 1, 1]
