"""Which device trains, and how many cores a CPU gives to it."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import torch

from autoprune.errors import ConfigError
from autoprune.storage.measuring import wait_for_measurements

LOOK_AGAIN_S = 10.0  # counting takes 0.2 s
_lent: list[int] = []  # threads that this process may use, where another one shares them out
_NEARLY_IDLE = 0.75  # a core that others leave free this much counts as free


def choose_device(requested: str | int | None = None) -> str:
    """The device to train on: what was asked for, else the first GPU, else the CPU.

    Args:
        requested: "cpu", "mps", a GPU as 0, "0" or "cuda:0", or None.

    Returns:
        A name torch and Ultralytics both understand.

    Raises:
        ConfigError: The device is not there, or several were asked for.
    """
    text = "" if requested is None else str(requested).strip().lower()
    if text in {"", "none"}:
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if text == "cpu" or (text == "mps" and torch.backends.mps.is_available()):
        return text
    index = "0" if text == "cuda" else text.removeprefix("cuda:")
    if index.isdigit() and int(index) < torch.cuda.device_count():
        return f"cuda:{int(index)}"
    present = ["cpu", *(str(number) for number in range(torch.cuda.device_count()))]
    raise ConfigError.of("device", "", requested, f"one of {', '.join(present)}")


@contextlib.contextmanager
def idle_cores() -> Iterator[Callable[..., None]]:
    """Lend torch every core nobody else is using; the former number of threads comes back.

    Ultralytics leaves one core idle. But a thread on a busy core is worse than none: the others
    wait for it thousands of times per second (measured on 2 cores: beside one busy program, or a
    second training, 2 threads were 14 to 30 times slower than 1).

    Yields:
        A function to call once Ultralytics has chosen its device and number of threads, and before
        each batch: it looks again every LOOK_AGAIN_S seconds, and waits while another process
        measures latency on this machine.
    """
    before = threads = torch.get_num_threads()
    due = 0.0

    def use(*_: object) -> None:
        nonlocal threads, due
        wait_for_measurements()
        if _lent:
            threads = _lent[-1]
        elif time.monotonic() >= due:
            threads = count_idle_cores()
            due = time.monotonic() + LOOK_AGAIN_S
        torch.set_num_threads(threads)

    try:
        yield use
    finally:
        torch.set_num_threads(before)


def use_threads(count: int) -> None:
    """Give this process so many threads for good: `idle_cores` looks no more."""
    _lent[:] = [count]
    torch.set_num_threads(count)


def count_idle_cores() -> int:
    """Cores this process may use and nobody else is using now, at least 1; takes 0.2 s.

    A program moves between cores: what counts is how much of all of them is left.
    """
    busy = psutil.cpu_percent(interval=0.2, percpu=True)
    free = sum(1 - percent / 100 for percent in busy)
    return max(1, int(min(usable_cores(), free + 1 - _NEARLY_IDLE)))


def usable_cores() -> int:
    """Cores this process may use, whoever else does, at least 1."""
    every = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else every
    return max(1, int(min(allowed, container_cores())))


def available_bytes(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Memory that can still be used here: what the system has free, or a container's limit leaves.

    Args:
        root: Where the control groups are mounted.
    """
    free = psutil.virtual_memory().available
    for most, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
            left = int((root / most).read_text()) - int((root / used).read_text())
            return max(0, min(free, left + _cached_bytes((root / used).with_name("memory.stat"))))
    return free


def _cached_bytes(statistics: Path) -> int:
    """Files that a container's memory holds and gives up when it needs room."""
    rows = (line.split() for line in statistics.read_text().splitlines())
    known = {name: int(count) for name, count in rows}
    return known.get("inactive_file", known.get("total_inactive_file", 0))


def container_cores(root: Path = Path("/sys/fs/cgroup")) -> float:
    """Cores worth of time a container may use, as `docker run --cpus` sets; at least 1.

    Threads beyond that are not slower cores but stopped ones: the kernel halts all of them until
    the next period. Both versions of Linux' control groups are read; infinite without a limit.

    Args:
        root: Where the control groups are mounted.
    """
    two, one = root / "cpu.max", root / "cpu" / "cpu.cfs_quota_us"
    with contextlib.suppress(OSError, ValueError):
        if two.exists():
            quota, period = two.read_text().split()
        else:
            quota, period = one.read_text(), one.with_name("cpu.cfs_period_us").read_text()
        if float(quota) > 0:  # "max" or -1 mean no limit
            return max(1.0, float(quota) / float(period))
    return math.inf
