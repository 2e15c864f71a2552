"""Processes: workers in processes of their own; the model and its statistics are loaded once each.

They are started as programs, not forked: no threads are inherited, and the caller's own main module
is not imported again.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future
from concurrent.futures import wait as wait_for
from dataclasses import fields
from pathlib import Path
from typing import IO, Any, cast

import torch

from autoprune.domain.record import TrialRecord
from autoprune.errors import ConfigError, TooManyFailures
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.workbench import Informed
from autoprune.search.evaluate.attempts import MAX_ATTEMPTS, forget_attempts, note_death
from autoprune.search.evaluate.candidate import Candidate
from autoprune.search.evaluate.supervisor import Limits, Supervisor, kill_all
from autoprune.storage.scratch import scratch_folder
from autoprune.storage.study_folder import StudyFolder

PROGRAM = "from autoprune.search.evaluate.worker import main; main()"
VISIBLE = "CUDA_VISIBLE_DEVICES"  # a worker sees its own GPU alone, as cuda:0
_GOODBYE_S = 5.0  # until one that does not end by itself is killed
_LOOK_S = 0.2  # between two looks at what the workers say
_THREAD = "autoprune-worker"


class CannotStart(Exception):
    """A worker did not come up; says why."""


class _Died(Exception):
    """A worker ended in the middle of its work."""


class Processes:
    """So many worker processes.

    A worker that dies is replaced, and its candidate is tried again until its attempts are used up;
    one that had to be ended because its work hung, or went beyond its limits, has left word of it
    and is not (see `attempt`). A record that a worker wrote before it died is not made again.

    Args:
        bench: The study; each worker gets a copy that measures nothing.
        count: Workers.
        threads: Of each.
        listener: Hears the stages, from the thread that waits.
        limits: Of one candidate.
        gpus: Numbers of GPUs, which the workers take in turn; by default all see the same.

    Raises:
        CannotStart: A worker does not come up.
        OSError, RuntimeError, PicklingError: The copy for the workers cannot be written.
    """

    def __init__(
        self,
        bench: Informed,
        count: int,
        threads: int,
        listener: SearchListener,
        limits: Limits | None = None,
        gpus: Sequence[int] = (),
    ) -> None:
        self.count, self.listener, self.study = count, listener, bench.folder
        self.limits = limits or Limits()
        self._supervisor = Supervisor(self.limits.most_bytes)
        self._own = scratch_folder("workers")
        self._events: queue.SimpleQueue[tuple[str, tuple[Any, ...]]] = queue.SimpleQueue()
        # Not a pool, whose threads a process waits for at its end, however long: Ctrl-C in the
        # middle of `wait` may leave a future's lock held for ever.
        self._asking: list[threading.Thread] = []
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._all: list[_Worker] = []
        self._working: list[str] = []
        try:
            file = Path(self._own.name) / "bench.pt"
            torch.save(_for_workers(bench), file)
            own = [gpus[place % len(gpus)] if gpus else None for place in range(count)]
            for gpu in own:
                self._all.append(_Worker(file, threads, self._events.put, gpu))
            for worker in self._all:
                worker.started()
                self._idle.put(worker)
        except BaseException:
            self.close()
            raise

    def begin(
        self, work: Callable[..., TrialRecord], candidate: Candidate, *more: Any
    ) -> Future[TrialRecord]:
        """See `Workers.begin`."""
        self._working.append(candidate.name)
        self.listener.candidate(", ".join(self._working), None, None)
        future: Future[TrialRecord] = Future()
        future.add_done_callback(lambda _: self._working.remove(candidate.name))
        asked = (future, work, candidate, more)
        asking = threading.Thread(target=self._answer, args=asked, daemon=True, name=_THREAD)
        self._asking = [each for each in self._asking if each.is_alive()] + [asking]
        asking.start()
        return future

    def wait(self, futures: Collection[Future[TrialRecord]]) -> None:
        """See `Workers.wait`."""
        done: Collection[Future[TrialRecord]] = ()
        while not done:
            done, _ = wait_for(futures, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
            with contextlib.suppress(queue.Empty):
                while True:
                    name, given = self._events.get_nowait()
                    getattr(self.listener, name)(*given)

    def close(self) -> None:
        """See `Workers.close`."""
        for worker in self._all:
            worker.end()
        for asking in self._asking:
            asking.join(_GOODBYE_S)
        self._own.cleanup()

    def _answer(self, future: Future[TrialRecord], *asked: Any) -> None:
        try:
            record = self._ask(*asked)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(record)

    def _ask(
        self, work: Callable[..., TrialRecord], candidate: Candidate, more: tuple[Any, ...]
    ) -> TrialRecord:
        worker, folder = self._idle.get(), candidate.folder(self.study)
        most_s, before = self.limits.seconds(work, more), _written(folder)
        try:
            for left in reversed(range(MAX_ATTEMPTS + 1)):
                try:
                    with self._supervisor.watching(worker.pid, folder, most_s, worker.kill):
                        return worker.do(work, candidate, more)
                except _Died as death:
                    if worker.ended:
                        raise TooManyFailures(f"the search ends: {death}") from death
                    note_death(folder, str(death))
                    worker.start_again()
                    if (record := _written(folder)) not in (None, before):
                        forget_attempts(folder)
                        return record
                    if not left:
                        raise TooManyFailures(f"workers die one after another: {death}") from death
            raise AssertionError("the last attempt returns or raises")
        except CannotStart as error:
            raise TooManyFailures(f"a worker that died cannot be replaced: {error}") from error
        finally:
            self._idle.put(worker)


class _Worker:
    """One worker process, seen from the search."""

    def __init__(
        self,
        bench: Path,
        threads: int,
        heard: Callable[[tuple[str, tuple[Any, ...]]], None],
        gpu: int | None = None,
    ) -> None:
        self.bench, self.threads, self.heard, self.gpu = bench, threads, heard, gpu
        self.ended = False
        self._changing = threading.Lock()  # one process for another, or for none
        self._start()

    def _start(self) -> None:
        path = os.pathsep.join(each or os.getcwd() for each in sys.path)
        self._complaint = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the process)
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(self.bench), str(self.threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaint,
            env={
                **os.environ,
                "PYTHONPATH": path,
                "TMPDIR": str(self.bench.parent),
                **({} if self.gpu is None else {VISIBLE: str(self.gpu)}),
            },
        )
        self._tasks = cast(IO[bytes], self._process.stdin)
        self._answers = cast(IO[bytes], self._process.stdout)

    @property
    def pid(self) -> int:
        """Of its process now."""
        return self._process.pid

    def kill(self, _why: str) -> None:
        """End its process and those it started; whoever waits for its answer hears that it died."""
        if self._process.poll() is None:  # else its number may be somebody else's
            kill_all(self._process.pid)

    def started(self) -> None:
        """Wait until the worker is ready.

        Raises:
            CannotStart: It ended before that.
        """
        try:
            self._heard()
        except _Died as death:
            raise CannotStart(str(death)) from death

    def start_again(self) -> None:
        """Replace the process that died.

        Raises:
            CannotStart: The new one does not come up, or the search ends.
        """
        with self._changing:
            if self.ended:
                raise CannotStart("the search ends")
            self.kill("it may live, having answered rubbish")
            self._close()
            self._start()
        self.started()

    def do(
        self, work: Callable[..., TrialRecord], candidate: Candidate, more: tuple[Any, ...]
    ) -> TrialRecord:
        """Let it evaluate a candidate, and wait for the record.

        Raises:
            _Died: It did not survive that.
            Exception: What the work raised.
        """
        try:
            pickle.dump((work, candidate, more), self._tasks)
            self._tasks.flush()
        except (OSError, ValueError) as error:
            if isinstance(error, ValueError) and not self.ended:  # else: the pipe is closed
                raise
            raise _Died(self._epitaph()) from error
        found: TrialRecord = self._heard()
        return found

    def end(self) -> None:
        """Kill it, whatever it does."""
        self.ended = True  # at once: nobody replaces it
        with self._changing:
            self._close()

    def _heard(self) -> Any:
        """The next thing it says that is no event."""
        while True:
            try:
                kind, content = pickle.load(self._answers)  # noqa: S301 (our own process)
            except Exception as error:  # the end, or half of an answer
                raise _Died(self._epitaph()) from error
            if kind == "event":
                self.heard(content)
            elif kind == "error":
                raise content
            else:
                return content

    def _epitaph(self) -> str:
        """How it ended, and the last thing that it printed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        printed = b""
        with contextlib.suppress(OSError, ValueError):
            self._complaint.seek(0)
            printed = self._complaint.read()
        last = printed.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no message"]
        return f"exit status {self._process.returncode}, {last[0][:200]}"

    def _close(self) -> None:
        """End it: it goes by itself when its input ends."""
        with contextlib.suppress(OSError):
            self._tasks.close()
        try:
            self._process.wait(_GOODBYE_S)
        except subprocess.TimeoutExpired:
            self.kill("it does not go by itself")
            self._process.wait()
        for stream in (self._answers, self._complaint):
            with contextlib.suppress(OSError, ValueError):
                stream.close()


def _written(folder: Path) -> TrialRecord | None:
    """A candidate's record, as a worker may have written it just before it died."""
    try:
        return TrialRecord.load(folder / "record.json")
    except ConfigError:
        return None


def _for_workers(bench: Informed) -> Informed:
    """What a worker needs to know: all but the connections to the target and a database."""
    known = {field.name: getattr(bench, field.name) for field in fields(Informed)}
    return Informed(**known | {"target": None, "folder": StudyFolder(bench.folder.root)})
