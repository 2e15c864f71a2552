"""Which device trains, and how many cores a CPU gives to it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import psutil
import torch

from autoprune.errors import ConfigError

_BUSY_PERCENT = 50.0


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
    spin while they wait for it (measured on 2 cores, one busy: 2 threads were 30 times slower
    than 1).

    Yields:
        A function to call after Ultralytics has chosen its device and number of threads.
    """
    before = torch.get_num_threads()
    threads = count_idle_cores()
    try:
        yield lambda *_: torch.set_num_threads(threads)
    finally:
        torch.set_num_threads(before)


def count_idle_cores() -> int:
    """Cores this process may use and nobody else is using now, at least 1; takes 0.2 s."""
    busy = psutil.cpu_percent(interval=0.2, percpu=True)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else len(busy)
    idle = sum(percent < _BUSY_PERCENT for percent in busy)
    return max(1, min(allowed, idle))
