"""What a machine may do to a search: a busy neighbour, and half of the time stopped.

Each helper is a process of its own that ends with the benchmark, even when that is killed: it waits
for the end of its standard input.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
PERIOD_S = 0.05  # stopped for so long, then running for so long


class Tree:
    """A process, its process group and all descendants, also those in groups of their own.

    One once seen is remembered: it may outlive the process that started it.

    Args:
        leader: Process id of the leader of a process group.
    """

    def __init__(self, leader: int) -> None:
        self.leader = leader
        self._seen: dict[int, psutil.Process] = {}
        with contextlib.suppress(psutil.NoSuchProcess):
            self._seen[leader] = psutil.Process(leader)

    def look(self) -> list[psutil.Process]:
        """Those that were not known yet, at one look at all processes; forgets what is gone."""
        self._seen = {pid: each for pid, each in self._seen.items() if each.is_running()}
        others = {each.pid: each for each in psutil.process_iter(["ppid"])}
        found: list[psutil.Process] = []
        while new := [each for each in others.values() if self._is_new(each)]:
            self._seen |= {each.pid: each for each in new}
            found += new
        return found

    def stop(self) -> None:
        """Stop all; also what is started meanwhile."""
        _each(psutil.Process.suspend, self._seen.values())
        while new := self.look():
            _each(psutil.Process.suspend, new)

    def go_on(self) -> None:
        """Continue all; to what runs this does nothing."""
        _each(psutil.Process.resume, self._seen.values())

    def runs(self) -> bool:
        """Whether the leader has not ended yet."""
        with contextlib.suppress(KeyError, psutil.Error):
            return self._seen[self.leader].status() != psutil.STATUS_ZOMBIE
        return False

    def end(self, wait_s: float = 10.0) -> None:
        """Ask the leader to end, wait for it, then kill all that is left."""
        self.look()
        self.go_on()
        leader = [each for each in self._seen.values() if each.pid == self.leader]
        _each(psutil.Process.terminate, leader)
        psutil.wait_procs(leader, timeout=wait_s)
        self.look()
        left = list(self._seen.values())
        _each(psutil.Process.kill, left)
        psutil.wait_procs(left, timeout=wait_s)

    def _is_new(self, process: psutil.Process) -> bool:
        if process.pid in self._seen or process.pid == os.getpid():
            return False
        with contextlib.suppress(OSError):
            return process.info["ppid"] in self._seen or os.getpgid(process.pid) == self.leader
        return False


def _each(do: Callable[[psutil.Process], None], processes: Iterable[psutil.Process]) -> None:
    for process in list(processes):
        with contextlib.suppress(psutil.Error):
            do(process)


@contextlib.contextmanager
def half_speed(leader: int) -> Iterator[None]:
    """Stop and continue a process with all its descendants every PERIOD_S while the body runs.

    All of them run again afterwards, and as soon as the helper is gone, however it ended.
    """
    with _helper("half_speed", str(leader)) as helper:

        def continue_all() -> None:
            helper.wait()
            tree = Tree(leader)
            tree.look()
            tree.go_on()

        watch = threading.Thread(target=continue_all, daemon=True)
        watch.start()
        try:
            yield
        finally:
            _end(helper)
            watch.join()


@contextlib.contextmanager
def busy_neighbour() -> Iterator[None]:
    """One process that computes all the time while the body runs."""
    with _helper("busy"):
        yield


@contextlib.contextmanager
def _helper(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "benchmarks.lib.disturbance", *arguments]
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    helper = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **threads}, stdin=subprocess.PIPE
    )
    try:
        yield helper
    finally:
        _end(helper)


def _end(helper: subprocess.Popen[bytes]) -> None:
    """The helper ends by itself when its standard input does; else it is killed."""
    assert helper.stdin is not None
    helper.stdin.close()
    try:
        helper.wait(timeout=5)
    except subprocess.TimeoutExpired:
        helper.kill()
        helper.wait()


def _stop_and_continue(leader: int, over: threading.Event) -> None:
    tree = Tree(leader)
    try:
        while tree.runs() and not over.is_set():
            began = time.monotonic()
            tree.stop()
            over.wait(PERIOD_S - (time.monotonic() - began))
            stopped_s = time.monotonic() - began
            tree.go_on()
            over.wait(stopped_s)
    finally:
        tree.go_on()


def _compute(over: threading.Event) -> None:
    import numpy as np

    matrix = np.random.default_rng(0).random((256, 256), dtype=np.float32)
    while not over.is_set():
        matrix @ matrix


def main() -> None:
    """What a helper does until its standard input ends."""
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the benchmark, which ends us

    def wait() -> None:
        while os.read(0, 1):  # not sys.stdin: its lock must be free when Python ends
            pass
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    if sys.argv[1] == "busy":
        _compute(over)
    else:
        _stop_and_continue(int(sys.argv[2]), over)


if __name__ == "__main__":
    main()
