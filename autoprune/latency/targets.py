"""Where the runner runs: the protocol every target meets, and this machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import psutil
from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from autoprune.errors import ConfigError, TrialFailed
from autoprune.latency import runner
from autoprune.latency.runner_output import MAX_OUTPUT_BYTES, parse_output

LOCK_WAIT_S = 900.0
"""Measurements take seconds; one that holds the machine this long is stuck."""

# Variables that change how many threads a runtime uses, or where they are pinned. Importing
# Ultralytics sets some of them in our own process.
_SCRUBBED = ("OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "BLIS_", "VECLIB_", "NUMEXPR_", "ORT_")


class LatencyTarget(Protocol):
    """A machine that measures latency."""

    def run(self, job: dict[str, Any], files: Sequence[Path], timeout_s: float) -> dict[str, Any]:
        """Run the runner once, alone on that machine, and return its answer.

        Args:
            job: The runner's job. Wherever it names a file, it holds exactly `str(path)` of one of
                `files`, so that a remote target can replace it by the place it sent the file to.
            files: Every file the job needs.
            timeout_s: Limit for the runner itself, in seconds.

        Returns:
            The runner's answer, an unchecked JSON object without "error".

        Raises:
            ConfigError: The target lacks the runtime or the provider that was asked for.
            TrialFailed: "timeout", "oom", or "latency" (the model does not run, broken answer).
            TargetUnreachable: The device is gone.
        """
        ...


class LocalTarget:
    """This machine: the runner in a clean process of its own, one at a time."""

    def __init__(
        self,
        python: str = sys.executable,
        runner_path: Path = Path(runner.__file__),
        lock_path: Path | None = None,
    ) -> None:
        """Choose the interpreter, the runner program and the lock that serialises measurements.

        `lock_path` defaults to one file per user and machine.
        """
        self.python = python
        self.runner_path = runner_path
        self.lock_path = lock_path or user_cache_path("autoprune") / "latency.lock"

    def run(self, job: dict[str, Any], files: Sequence[Path], timeout_s: float) -> dict[str, Any]:
        """See `LatencyTarget.run`."""
        for path in files:
            if not path.is_file():
                raise TrialFailed("latency", f"{path} does not exist")
        with _alone(self.lock_path):
            raw, ended = self._output(json.dumps(job), timeout_s)
        return parse_output(raw, ended)

    def _output(self, text: str, timeout_s: float) -> tuple[bytes, str]:
        """The runner's stdout, cut just above MAX_OUTPUT_BYTES, and how it ended."""
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(_SCRUBBED)
        }
        deadline = time.monotonic() + timeout_s
        with tempfile.TemporaryFile() as job:
            job.write(text.encode())
            job.seek(0)
            process = subprocess.Popen(
                [self.python, str(self.runner_path)],
                stdin=job,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=os.name == "posix",
            )
        assert process.stdout is not None
        assert process.stderr is not None
        answer = _Reader(process.stdout, MAX_OUTPUT_BYTES + 1)
        complaint = _Reader(process.stderr, None)
        try:
            answer.finish(deadline)
            if len(answer.kept) <= MAX_OUTPUT_BYTES:
                process.wait(max(0.0, deadline - time.monotonic()))
        except (TimeoutError, subprocess.TimeoutExpired):
            detail = f"the measurement took longer than {timeout_s:g} s"
            raise TrialFailed("timeout", detail) from None
        finally:
            _kill_group(process)
            answer.close()
            complaint.close()
        if not answer.kept.strip() and process.returncode == -9:
            raise TrialFailed("oom", "the measuring process was killed, as when memory is out")
        lines = complaint.kept.decode("utf-8", "replace").strip().splitlines()
        ending = f"exit status {process.returncode}"
        return answer.kept, f"{ending}: {lines[-1][:300]}" if lines else ending


class _Reader(threading.Thread):
    """Drains a pipe, so that the writer never blocks, and keeps a bounded part of it.

    With a `limit` reading stops at that many bytes; without one only the tail is kept.
    """

    def __init__(self, stream: IO[bytes], limit: int | None) -> None:
        super().__init__(daemon=True)
        self.kept = b""
        self._stream = stream
        self._limit = limit
        self.start()

    def run(self) -> None:
        """Read until the end or the limit."""
        if self._limit is not None:
            self.kept = self._stream.read(self._limit)
            return
        while chunk := self._stream.read(4096):
            self.kept = (self.kept + chunk)[-4096:]

    def finish(self, deadline: float) -> None:
        """Wait for the end; TimeoutError at the deadline (of time.monotonic)."""
        self.join(max(0.0, deadline - time.monotonic()))
        if self.is_alive():
            raise TimeoutError

    def close(self) -> None:
        """Close the pipe, unless a process that escaped its group still holds it open."""
        self.join(2.0)
        if not self.is_alive():
            self._stream.close()


@contextlib.contextmanager
def _alone(lock_path: Path) -> Iterator[None]:
    """Hold the machine's lock: two measurements at once would slow each other."""
    try:
        lock_path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(lock_path, timeout=LOCK_WAIT_S)
        lock.acquire()
    except Timeout:
        detail = f"another measurement has held {lock_path} for {LOCK_WAIT_S:g} s"
        raise TrialFailed("timeout", detail) from None
    except OSError as error:
        raise ConfigError(f"{lock_path}: cannot be locked: {error.strerror or error}") from None
    try:
        yield
    finally:
        lock.release()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End the process and whatever it started."""
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
        process.kill()
    process.wait()
