"""Where the runner runs: the protocol every target meets, this machine, and the list of all."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import psutil
from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from autoprune.domain.config import DEFAULT_TARGET_PYTHON
from autoprune.errors import ConfigError, TargetUnreachable, TrialFailed
from autoprune.latency import runner
from autoprune.latency.options import LOCK_WAIT_S
from autoprune.latency.pipe_reader import PipeReader
from autoprune.latency.runner_output import MAX_OUTPUT_BYTES, parse_ended
from autoprune.latency.ssh_address import SCHEME
from autoprune.latency.ssh_target import SshTarget

SSH_VARIABLE = "AUTOPRUNE_SSH"
"""Environment variable: another ssh client, or arguments for it, as in `ssh -F my_config`."""

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
            TargetUnreachable: The device is gone, or busy with another measurement for long.
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
            return parse_ended(*self._output(json.dumps(job), timeout_s))

    def _output(self, text: str, timeout_s: float) -> tuple[bytes, int, str]:
        """The runner's stdout, cut just above MAX_OUTPUT_BYTES, its status and its stderr's end."""
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(_SCRUBBED)
        }
        environment[runner.PARENT_VARIABLE] = str(os.getpid())
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
        answer = PipeReader(process.stdout, MAX_OUTPUT_BYTES + 1)
        complaint = PipeReader(process.stderr, None)
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
        return answer.kept, process.returncode, complaint.kept.decode("utf-8", "replace")


@contextlib.contextmanager
def _alone(lock_path: Path) -> Iterator[None]:
    """Hold the machine's lock: two measurements at once would slow each other."""
    try:
        lock_path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(lock_path, timeout=LOCK_WAIT_S)
        lock.acquire()
    except Timeout:
        detail = f"another measurement has held {lock_path} for {LOCK_WAIT_S:g} s"
        raise TargetUnreachable(detail) from None
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


def target_from(text: str, python: str = DEFAULT_TARGET_PYTHON) -> LatencyTarget:
    """The target that `--target` and `--target-python` name; it is not contacted yet.

    Args:
        text: "local" or "ssh://user@host[:port]".
        python: The interpreter on an ssh target.

    Raises:
        ConfigError: Neither, or an interpreter that cannot be meant.
    """
    make = _TARGETS.get(text.partition("://")[0])
    if make is None:
        raise ConfigError.of("--target", "", text, f"local or {SCHEME}user@host[:port]")
    return make(text, python)


def _local(text: str, python: str) -> LatencyTarget:
    if text != "local":
        raise ConfigError.of("--target", "", text, "local")
    if python != DEFAULT_TARGET_PYTHON:
        raise ConfigError.of("--target-python", "", python, f"--target {SCHEME}... with it")
    return LocalTarget()


def _ssh(text: str, python: str) -> LatencyTarget:
    asked = os.environ.get(SSH_VARIABLE, "")
    try:
        command = shlex.split(asked) or ["ssh"]
    except ValueError as error:
        raise ConfigError.of(SSH_VARIABLE, "", asked, f"a command ({error})") from None
    return SshTarget(text, python, ssh_command=command)


# What stands before "://" -> the target.
_TARGETS: dict[str, Callable[[str, str], LatencyTarget]] = {"local": _local, "ssh": _ssh}
