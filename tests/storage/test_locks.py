"""One at a time: at once, after waiting and saying so, or not at all."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import filelock
import pytest

from autoprune.storage.locks import Held, alone


def test_the_lock_is_held_inside_and_free_outside(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "a.lock"
    with alone(path), pytest.raises(filelock.Timeout):
        filelock.FileLock(path).acquire(timeout=0)
    with pytest.raises(ZeroDivisionError), alone(path):
        _ = 1 / 0
    with alone(path, timeout_s=0):
        pass


def test_a_lock_that_is_held_is_given_up_at_once_if_asked(tmp_path: Path) -> None:
    with alone(tmp_path / "a.lock"):
        began = time.monotonic()
        with pytest.raises(Held, match=r"a\.lock"), alone(tmp_path / "a.lock", timeout_s=0):
            raise AssertionError("two hold it")
        assert time.monotonic() - began < 1


def test_waiting_is_said_once_and_only_when_there_is_something_to_wait_for(tmp_path: Path) -> None:
    said: list[str] = []
    path, held = tmp_path / "a.lock", threading.Event()
    with alone(path, lambda: said.append("waiting")):
        assert said == []

    def hold() -> None:
        with alone(path):
            held.set()
            time.sleep(0.3)

    other = threading.Thread(target=hold)
    other.start()
    held.wait()
    with alone(path, lambda: said.append("waiting"), timeout_s=10):
        assert said == ["waiting"]
    other.join()


def test_a_holder_that_is_killed_frees_the_lock(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys, time\nfrom autoprune.storage.locks import alone\n"
        f"with alone(pathlib.Path({str(tmp_path / 'a.lock')!r})):\n"
        "    print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Held), alone(tmp_path / "a.lock", timeout_s=0.1):
            pass
        holder.kill()
        holder.wait()
        with alone(tmp_path / "a.lock", timeout_s=5):
            pass
