"""What a killed process leaves in the temporary folder is removed by the next one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from autoprune.storage import scratch

_HOLDS = """
import sys, time
from autoprune.storage.scratch import process_folder, scratch_folder
with scratch_folder("work") as folder:
    open(folder + "/file", "w").write("x" * 1000)
    print(process_folder(), flush=True)
    if sys.argv[1] == "wait":
        time.sleep(600)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def _start(temporary: Path, how: str) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDS, how],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout as said:
        return process, Path(said.readline().strip())


def _make_old(folder: Path, seconds: float) -> None:
    then = time.time() - seconds
    for file in (folder / scratch.MARK, folder / ".lock", folder):
        if file.exists():
            os.utime(file, (then, then))


def test_only_the_folder_of_a_process_that_is_gone_is_removed(temporary: Path) -> None:
    killed, left = _start(temporary, "wait")
    living, in_use = _start(temporary, "wait")
    try:
        assert left.parent == in_use.parent == temporary
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        scratch.remove_abandoned()
        assert left.exists(), "it may be in the making"
        for folder in (left, in_use):
            _make_old(folder, 3600)
        scratch.remove_abandoned()
        assert not left.exists()
        assert len(list(in_use.rglob("file"))) == 1
    finally:
        living.kill()
        living.wait()


def test_a_process_that_ends_leaves_nothing(temporary: Path) -> None:
    process, folder = _start(temporary, "end")
    assert process.wait() == 0
    assert folder.parent == temporary
    assert not list(temporary.iterdir())


def test_folders_of_others_stay(temporary: Path) -> None:
    mine = temporary / "autoprune-studies"
    elsewhere = temporary / "autoprune-of-another-machine"
    for folder in (mine, elsewhere):
        folder.mkdir()
        (folder / ".lock").touch()
    (elsewhere / scratch.MARK).write_text("another machine")
    _make_old(mine, 1e6)
    _make_old(elsewhere, 1e6)
    scratch.remove_abandoned()
    assert mine.exists()
    assert elsewhere.exists()
