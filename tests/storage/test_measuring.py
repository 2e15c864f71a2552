"""Training pauses while latency is measured on the same machine."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from autoprune.evaluation.device import idle_cores
from autoprune.latency.local_target import LocalTarget
from autoprune.storage import measuring
from autoprune.storage.locks import alone


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(measuring, "cache_folder", lambda: tmp_path)
    return tmp_path / "latency.lock"


def test_the_next_batch_waits_for_the_measurement_to_end(lock: Path) -> None:
    assert LocalTarget().lock_path == lock
    over = threading.Event()

    def measure() -> None:
        with alone(lock):
            begun.set()
            time.sleep(0.3)
            over.set()

    begun, measurement = threading.Event(), threading.Thread(target=measure)
    with idle_cores() as before_each_batch:
        measurement.start()
        begun.wait(10)
        before_each_batch()
        assert over.is_set()
    measurement.join()


def test_no_measurement_stops_it_for_good(lock: Path) -> None:
    def waited_s() -> float:
        began = time.monotonic()
        measuring.wait_for_measurements(0.5)
        return time.monotonic() - began

    with alone(lock):  # by a process that is stopped, say
        assert 0.4 < waited_s() < 30
        assert sum(waited_s() for _ in range(3)) < 0.4, "once is enough"
    assert waited_s() < 0.4
    with alone(lock):
        assert 0.4 < waited_s() < 30, "the next measurement is waited for again"
    measuring.wait_for_measurements()
