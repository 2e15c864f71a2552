"""One lock for each user and machine: whoever measures latency holds it, whoever trains waits."""

from __future__ import annotations

from pathlib import Path

from autoprune.storage.cache import cache_folder
from autoprune.storage.locks import Held, alone

MOST_PAUSE_S = 60.0  # then work goes on all the same: nobody starves, no watchdog bites


class _Patience:
    over = False  # whoever holds the lock was waited for long enough; it may be stopped


def measuring_lock() -> Path:
    """The file whose lock a measurement on this machine holds."""
    return cache_folder() / "latency.lock"


def wait_for_measurements(most_s: float = MOST_PAUSE_S) -> None:
    """Pause while another process measures latency here.

    Args:
        most_s: For so many seconds at most; then not again until nobody measures.
    """
    try:
        with alone(measuring_lock(), timeout_s=0.0 if _Patience.over else most_s):
            _Patience.over = False
    except Held:
        _Patience.over = True
    except OSError:
        return
