"""LocalTarget: measures on this machine, in a clean process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from autoprune.errors import ConfigError, TargetUnreachable, TrialFailed
from autoprune.latency import runner
from autoprune.latency.options import LOCK_WAIT_S
from autoprune.latency.pipe_reader import PipeReader
from autoprune.latency.runner_output import MAX_OUTPUT_BYTES, parse_ended
from autoprune.storage.locks import Held, alone
from autoprune.storage.measuring import measuring_lock


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
        self.lock_path = lock_path or measuring_lock()

    def run(self, job: dict[str, Any], files: Sequence[Path], timeout_s: float) -> dict[str, Any]:
        """See `LatencyTarget.run`."""
        for path in files:
            if not path.is_file():
                raise TrialFailed("latency", f"{path} does not exist")
        with _alone(self.lock_path):
            return parse_ended(*self._output(json.dumps(job), timeout_s))

    def _output(self, text: str, timeout_s: float) -> tuple[bytes, int, str]:
        """The runner's stdout, cut just above MAX_OUTPUT_BYTES, its status and its stderr's end."""
        deadline = time.monotonic() + timeout_s
        with tempfile.TemporaryFile() as job:
            job.write(text.encode())
            job.seek(0)
            process = subprocess.Popen(
                [self.python, str(self.runner_path)],
                stdin=job,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=clean_environment(),
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
            kill_group(process)
            answer.close()
            complaint.close()
        return answer.kept, process.returncode, complaint.kept.decode("utf-8", "replace")


@contextlib.contextmanager
def _alone(lock_path: Path) -> Iterator[None]:
    """Hold the machine's lock: two measurements at once would slow each other."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(alone(lock_path, timeout_s=LOCK_WAIT_S))
        except Held:
            detail = f"another measurement has held {lock_path} for {LOCK_WAIT_S:g} s"
            raise TargetUnreachable(detail) from None
        except OSError as error:
            reason = error.strerror or error
            raise ConfigError(f"{lock_path}: cannot be locked: {reason}") from None
        yield


def clean_environment() -> dict[str, str]:
    """Of a runner: nothing that changes a runtime's threads, and its parent's number."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(runner.SCRUBBED_VARIABLES)
    }
    environment[runner.PARENT_VARIABLE] = str(os.getpid())
    return environment


def kill_group(process: subprocess.Popen[bytes]) -> None:
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
