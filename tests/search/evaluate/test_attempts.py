"""Deaths are counted, hangs are not repeated, ends of any other kind leave nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autoprune.domain.record import Failure
from autoprune.search.evaluate.attempts import (
    MAX_ATTEMPTS,
    attempt,
    note_death,
    note_deaths,
    note_end,
)

ROOT = Path(__file__).resolve().parents[3]


def _die(folder: Path) -> None:
    """Enter and never leave, as a killed process does."""
    entered = attempt(folder)
    assert entered.__enter__() is None
    _LEFT.append(entered)  # else its generator would be closed, which is a clean end


_LEFT: list[object] = []


def test_a_candidate_that_took_workers_down_is_refused(tmp_path: Path) -> None:
    for _ in range(MAX_ATTEMPTS):
        _die(tmp_path)
    with attempt(tmp_path) as refused:
        assert refused is not None
        assert refused.reason == "crash"
        assert f"its worker died {MAX_ATTEMPTS} times" in refused.detail


@pytest.mark.parametrize(
    ("how", "reason"),
    [("exit status -11, Segmentation fault", "crash"), ("exit status -9, no message", "oom")],
)
def test_how_the_last_worker_died_is_told(tmp_path: Path, how: str, reason: str) -> None:
    note_death(tmp_path, how)  # of a worker that died before it began
    assert list(tmp_path.iterdir()) == []
    for _ in range(MAX_ATTEMPTS):
        _die(tmp_path)
        note_death(tmp_path, how)
    with attempt(tmp_path) as refused:
        assert refused is not None
        assert refused.reason == reason
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("deaths", [0, MAX_ATTEMPTS])
def test_of_deaths_here_and_elsewhere_the_more_count(tmp_path: Path, deaths: int) -> None:
    _die(tmp_path)
    note_deaths(tmp_path, deaths)
    if deaths == 0:
        _die(tmp_path)
    with attempt(tmp_path) as refused:
        assert refused is not None


@pytest.mark.parametrize("reason", ["timeout", "oom"])
def test_a_worker_that_was_ended_is_known_to_the_next_one(tmp_path: Path, reason: Any) -> None:
    _die(tmp_path)
    note_end(tmp_path, Failure(reason=reason, detail="not done after 600 s"))
    with attempt(tmp_path) as refused:
        assert refused == Failure(reason=reason, detail="not done after 600 s")
    assert list(tmp_path.iterdir()) == []


_HANGS = """
import os, signal, sys
from pathlib import Path
from autoprune.evaluation import watchdog
from autoprune.search.evaluate.attempts import attempt

watchdog.LOOK_S, watchdog.IDLE_S, watchdog.GRACE_S, watchdog.IDLE_SHARE = 0.1, 0.5, 0.3, 0.05

def read(image):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])  # as the kernel does in a dead read
    os.open(image, os.O_RDONLY)

with attempt(Path(sys.argv[1])), watchdog.watched("validation"):
    read(Path(sys.argv[2]))
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no such signals")
def test_a_hang_that_ended_the_process_is_known_to_the_next_one_with_its_file(
    tmp_path: Path,
) -> None:
    folder, image = tmp_path / "0007", tmp_path / "image.png"
    os.mkfifo(image)  # whoever opens it waits
    command = [sys.executable, "-c", _HANGS, str(folder), str(image)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    detail = f"validation hangs at {image}: nothing was computed for 0 s"
    assert ended.returncode == 4, ended.stderr
    assert ended.stderr == f"autoprune: paused: {detail}\n"
    with attempt(folder) as refused:
        assert refused == Failure(reason="timeout", detail=detail)
    with attempt(folder) as refused:  # recorded: whoever wants to may try again
        assert refused is None
    assert list(folder.iterdir()) == []


def test_a_clean_end_an_error_and_an_interruption_count_nothing(tmp_path: Path) -> None:
    _die(tmp_path)
    for error in (None, ValueError, KeyboardInterrupt):
        if error is None:
            with attempt(tmp_path) as refused:
                assert refused is None
            continue
        for _ in range(MAX_ATTEMPTS + 1):
            with pytest.raises(error), attempt(tmp_path):
                raise error
    assert list(tmp_path.iterdir()) == []
