"""Work that waits for ever without computing is ended, and the file it waits for is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from autoprune.errors import TrialFailed
from autoprune.evaluation import watchdog
from autoprune.evaluation.watchdog import watched

pytestmark = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no such signals")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "LOOK_S", 0.1)
    monkeypatch.setattr(watchdog, "IDLE_S", 0.5)
    monkeypatch.setattr(watchdog, "IDLE_SHARE", 0.05)


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Path]:
    """Whoever reads it waits: until the test fails, after half a minute."""
    image = tmp_path / "image.png"
    os.mkfifo(image)
    late = threading.Timer(30, image.write_bytes, [b"late"])
    late.start()
    yield image
    late.cancel()


def _read(image: Path) -> bytes:
    return image.read_bytes()


def test_a_read_that_never_returns_is_ended_and_its_file_named(pipe: Path) -> None:
    before = signal.getsignal(signal.SIGALRM)
    with (
        pytest.raises(TrialFailed, match=rf"timeout: scoring hangs at {pipe}: nothing was comp"),
        watched("scoring"),
    ):
        _read(pipe)
    assert signal.getsignal(signal.SIGALRM) is before


def test_what_swallows_exceptions_on_the_way_does_not_swallow_it(pipe: Path) -> None:
    def goes_on() -> None:
        with suppress(Exception):
            _read(pipe)
        pytest.fail("it went on")

    with pytest.raises(TrialFailed, match="hangs"), watched("scoring"):
        goes_on()


def test_a_signal_of_somebody_else_is_passed_on() -> None:
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: rung.append(number))
    try:
        with watched("work"):
            signal.raise_signal(signal.SIGALRM)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert rung == [signal.SIGALRM]


def test_work_that_computes_or_whose_child_does_is_left_alone() -> None:
    with watched("work"):
        ends = time.monotonic() + 1.0
        while time.monotonic() < ends:
            pass
    child = "import time\nends = time.monotonic() + 1.0\nwhile time.monotonic() < ends: pass"
    with watched("work"):
        subprocess.run([sys.executable, "-c", child], check=True)


def test_inside_of_another_and_in_another_thread_the_body_runs_unwatched(pipe: Path) -> None:
    done: list[str] = []

    def quiet() -> None:
        with watched("inner"):
            time.sleep(0.8)
            done.append("thread")

    thread = threading.Thread(target=quiet)
    thread.start()
    thread.join()
    with pytest.raises(TrialFailed, match="outer hangs"), watched("outer"), watched("inner"):
        time.sleep(30)
    assert done == ["thread"]


def test_what_cannot_be_interrupted_ends_with_its_process(tmp_path: Path) -> None:
    code = """
import signal, time
from autoprune.evaluation import watchdog
watchdog.LOOK_S, watchdog.IDLE_S, watchdog.GRACE_S, watchdog.IDLE_SHARE = 0.1, 0.5, 0.5, 0.05
with watchdog.watched("calibration"):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    time.sleep(600)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 4
    assert done.stderr.startswith("autoprune: paused: calibration hangs")


@pytest.mark.parametrize("trouble", ["raise PermissionError", "time.sleep(600)"])
def test_a_note_that_cannot_be_written_keeps_no_process_alive(tmp_path: Path, trouble: str) -> None:
    code = f"""
import signal, time
from pathlib import Path
from autoprune.evaluation import watchdog
watchdog.LOOK_S, watchdog.IDLE_S, watchdog.GRACE_S, watchdog.IDLE_SHARE = 0.1, 0.5, 0.3, 0.05
watchdog._NOTE_S = 0.3
def write(*_):
    {trouble}
watchdog.write_atomic = write
with watchdog.last_words(Path("note")), watchdog.watched("calibration"):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    time.sleep(600)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 4
    assert done.stderr.startswith("autoprune: paused: calibration hangs")
    assert done.stderr.count("\n") == 1
