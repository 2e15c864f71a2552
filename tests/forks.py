"""Programs in processes of their own that need not import torch again.

One server imports torch and what torch loads on first use, nothing of ours and no Ultralytics; each
program runs in a fork of it, with its own environment, folder and output.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

_SERVER = """\
import json, os, signal, sys
import torch, torch._dynamo, torch.export, torchvision

def become(job):
    signal.alarm(300)
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    sys.path[0:0] = job["environment"].get("PYTHONPATH", "").split(os.pathsep)
    for number, name in enumerate((os.devnull, job["out"], job["err"])):
        file = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(file, number)
        os.close(file)
    sys.argv = ["program.py", *job["arguments"]]

for line in sys.stdin:
    job = json.loads(line)
    if "ended" in job:
        print(os.waitstatus_to_exitcode(os.waitpid(job["ended"], 0)[1]), flush=True)
    elif pid := os.fork():
        print(pid, flush=True)
    else:
        break
else:
    os._exit(0)
become(job)
program = job["program"]
del job, line, pid, become
exec(compile(program, "program.py", "exec"), {"__name__": "__main__"})
"""


_ONCE = {"OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "30000"}  # read when torch is imported


def untouched_environment() -> dict[str, str]:
    """What was set neither by us nor by these tests."""
    ours = ("YOLO", "OMP", "MKL", "OPENBLAS", "GOMP", "XDG", "MPL", "ORT")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


@dataclass
class Fork:
    """A program that runs beside the test."""

    pid: int
    server: Forks
    out: Path
    err: Path
    _code: int | None = None

    def end(self) -> None:
        """Kill it unless it has ended."""
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def wait(self) -> int:
        """Its exit code, once it has ended; less than 0 for the signal that ended it."""
        if self._code is None:
            self._code = self.server.ask(ended=self.pid)
        return self._code

    def said(self) -> tuple[str, str]:
        """What it has written so far to standard output and to standard error."""
        return self.out.read_text(), self.err.read_text()


class Forks:
    """The server; a context manager that ends it."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _SERVER],
            env=untouched_environment() | _ONCE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._begun = 0

    def ask(self, **job: object) -> int:
        """The number that the server answers."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps(job), file=self._server.stdin, flush=True)
        return int(self._server.stdout.readline())

    def begin(
        self, program: str, *arguments: str, folder: Path, environment: dict[str, str]
    ) -> Fork:
        """Begin the text of a program in `folder`; after 300 s it is ended. `wait` is due."""
        self._begun += 1
        out, err = (folder / f"{name}-{self._begun}.txt" for name in ("stdout", "stderr"))
        pid = self.ask(
            program=program,
            arguments=arguments,
            folder=str(folder),
            environment=environment,
            out=str(out),
            err=str(err),
        )
        return Fork(pid, self, out, err)

    def run(
        self, program: str, *arguments: str, folder: Path, environment: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run the text of a program to its end, at most 300 s, in `folder`."""
        fork = self.begin(program, *arguments, folder=folder, environment=environment)
        return subprocess.CompletedProcess(program, fork.wait(), *fork.said())

    def __enter__(self) -> Forks:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._server.communicate()
