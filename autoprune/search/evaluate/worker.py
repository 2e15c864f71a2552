"""A worker's own program: does what its search asks, one candidate at a time, until that is gone.

Reads pickles (work, candidate, more) from standard input and writes pairs to standard output:
("ready", None), ("event", (method, arguments)), ("done", record) or ("error", exception).
"""

from __future__ import annotations

import os
import pickle
import queue
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import psutil

from autoprune.evaluation.quiet import prepare_environment
from autoprune.search.context.listener import SearchListener

Answer = Callable[[str, Any], None]


class Relay(SearchListener):
    """Passes on what a candidate's evaluation tells.

    Args:
        answer: Sends it to the search.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def say(self, text: str) -> None:
        """Pass on."""
        self.answer("event", ("say", (text,)))

    def stage(self, name: str) -> None:
        """Pass on."""
        self.answer("event", ("stage", (name,)))

    def epoch(self, done: int, total: int) -> None:
        """Pass on."""
        self.answer("event", ("epoch", (done, total)))


def main() -> None:
    """The program: bench file and number of threads are its arguments."""
    tasks = sys.stdin.buffer
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what anything prints must not come between
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the search, which ends this
    prepare_environment()
    import torch

    from autoprune.evaluation.device import use_threads

    use_threads(int(sys.argv[2]))
    if torch.cuda.is_available():
        torch.cuda.init()  # type: ignore[no-untyped-call]  # with the GPU that it was given: Ultralytics sets another one later
    bench = torch.load(sys.argv[1], map_location="cpu", weights_only=False, mmap=True)
    asked: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(tasks, asked), daemon=True).start()

    def answer(kind: str, content: Any) -> None:
        pickle.dump((kind, content), answers)
        answers.flush()

    serve(bench, asked, answer)


def serve(bench: Any, asked: queue.SimpleQueue[tuple[Any, ...]], answer: Answer) -> None:
    """Do one piece of work after the other, for ever.

    Args:
        bench: The study.
        asked: (work, candidate, more) tuples; an empty one ends it.
        answer: Sends (kind, content) to the search.
    """
    relay = Relay(answer)
    answer("ready", None)
    while task := asked.get():
        work, candidate, more = task
        try:
            found = work(bench, candidate, relay, *more)
        except Exception as error:
            answer("error", _sendable(error))
        else:
            answer("done", found)


def _read(tasks: BinaryIO, asked: queue.SimpleQueue[tuple[Any, ...]]) -> None:
    """Take tasks from the search; when that is gone, end in the middle of whatever is done.

    So does what this process has started. A task that cannot be read ends it too, with its files
    left to the search, which hears why.
    """
    while True:
        try:
            asked.put(pickle.load(tasks))  # noqa: S301 (the search that started this process)
        except (EOFError, OSError, pickle.UnpicklingError):  # the last one: of half a task
            _end_children()
            shutil.rmtree(Path(sys.argv[1]).parent, ignore_errors=True)  # and all our files
            os._exit(0)
        except Exception:
            traceback.print_exc()
            os._exit(1)


def _end_children() -> None:
    with suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                child.kill()


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 (our own)
    except Exception:  # one with arguments of its own
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
