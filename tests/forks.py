"""Programs in processes of their own that need not import torch again.

One server imports torch and what torch loads on first use, nothing of ours and no Ultralytics; each
program runs in a fork of it, with its own environment, folder and output.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
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
    if not (pid := os.fork()):
        break
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
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


class Forks:
    """The server; a context manager that ends it."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[str] | None = None
        if hasattr(os, "fork"):
            self._server = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", _SERVER],
                env=untouched_environment() | _ONCE,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )

    def run(
        self, program: str, *arguments: str, folder: Path, environment: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run the text of a program to its end, at most 300 s, in `folder`."""
        if self._server is None:
            return subprocess.run(
                [sys.executable, "-c", program, *arguments],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=300,
            )
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        out, err = folder / "stdout.txt", folder / "stderr.txt"
        job = {
            "program": program,
            "arguments": arguments,
            "folder": str(folder),
            "environment": environment,
            "out": str(out),
            "err": str(err),
        }
        print(json.dumps(job), file=self._server.stdin, flush=True)
        code = int(self._server.stdout.readline())
        return subprocess.CompletedProcess(program, code, out.read_text(), err.read_text())

    def __enter__(self) -> Forks:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.communicate()
