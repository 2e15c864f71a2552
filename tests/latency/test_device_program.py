"""The program that runs on an ssh target, started here without ssh."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from autoprune.latency import device_program, runner, runner_output, ssh_session
from tests.latency.processes import is_gone, wait_for_file

PROGRAM = Path(device_program.__file__)


@pytest.fixture
def measuring(tmp_path, monkeypatch):
    """A device program whose client will be silent for 1 s only, and the pid of its runner."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    mark = tmp_path / "pid"
    sleeper = (
        "import os, pathlib, time\n"
        f"pathlib.Path({str(mark)!r}).write_text(f'{{os.getpid()}}\\n'); time.sleep(600)"
    ).encode()
    name = hashlib.sha256(sleeper).hexdigest() + ".py"
    source = PROGRAM.read_text().replace("SILENCE_S = 30.0", "SILENCE_S = 1.0")
    request = {"modules": [], "files": [name], "cache_bytes": 1000, "lock_wait_s": 1.0}
    lines = [
        json.dumps(request).encode(),
        json.dumps({"name": name, "bytes": len(sleeper)}).encode(),
        sleeper + json.dumps({"runner": name, "job": "", "limit_s": 60.0, "scrubbed": []}).encode(),
    ]
    with subprocess.Popen(
        [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        process.stdin.write(b"\n".join(lines) + b"\n")
        process.stdin.flush()
        yield process, int(wait_for_file(mark))
        process.kill()


def test_a_client_that_falls_silent_ends_the_measurement(measuring):
    process, pid = measuring
    assert process.wait(10.0) == device_program.GONE  # as a connection that broke
    assert is_gone(pid)


def test_the_runner_dies_with_its_device_program_however_that_dies(measuring):
    process, pid = measuring
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux tells a child of its parent's death")
    process.kill()
    assert is_gone(pid)


def test_being_told_to_end_ends_the_measurement(measuring):
    process, pid = measuring
    process.terminate()
    assert process.wait(10.0) == device_program.GONE
    assert is_gone(pid)


@pytest.mark.parametrize("program", [device_program, runner])
def test_programs_for_the_device_are_python_3_9(program):
    ast.parse(Path(program.__file__).read_text(), feature_version=(3, 9))


def test_both_ends_agree():
    assert f"{device_program.GREETING}\n".encode() == ssh_session.GREETING
    assert device_program.MAX_ANSWER_BYTES == runner_output.MAX_OUTPUT_BYTES + 1
    assert device_program.SILENCE_S >= 3 * ssh_session.BEAT_S


def test_a_full_disk_makes_room_too(tmp_path, monkeypatch):
    cache = device_program.Cache(tmp_path, 10_000)
    for age, letter in enumerate("abc"):
        path = tmp_path / f"{letter * 64}.onnx"
        path.write_bytes(b"x" * 1000)
        os.utime(path, (age, age))
    spare = device_program._SPARE_BYTES

    def usage(folder):
        used = sum(path.stat().st_size for path in folder.iterdir())
        return SimpleNamespace(free=spare + 3500 - used)

    monkeypatch.setattr(device_program.shutil, "disk_usage", usage)
    cache.make_room(400, [])
    assert len(list(tmp_path.iterdir())) == 3
    cache.make_room(1000, [f"{'a' * 64}.onnx"])  # 500 free, and the oldest is needed
    assert {path.name[0] for path in tmp_path.iterdir()} == {"a", "c"}
