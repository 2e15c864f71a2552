"""One lock for each user and machine: whoever measures latency holds it, whoever trains waits."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from autoprune.storage.cache import cache_folder
from autoprune.storage.locks import Held, alone

MOST_PAUSE_S = 60.0  # then a batch is computed all the same: nobody starves, no watchdog bites


def measuring_lock() -> Path:
    """The file whose lock a measurement on this machine holds."""
    return cache_folder() / "latency.lock"


def wait_for_measurements(most_s: float = MOST_PAUSE_S) -> None:
    """Pause while another process measures latency here.

    Args:
        most_s: For so many seconds at most.
    """
    with suppress(Held, OSError), alone(measuring_lock(), timeout_s=most_s):
        pass
