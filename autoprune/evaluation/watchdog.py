"""Ends work that hangs: a dead network drive lets a process wait for ever, without computing."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import psutil

from autoprune.errors import TrialFailed
from autoprune.storage.yaml_io import write_atomic

IDLE_S = 300.0  # without computing anything, until it counts as hung
LOOK_S = 15.0  # between two looks
IDLE_SHARE = 0.005  # of one core, up to which nothing is computed
GRACE_S = 60.0  # for what cannot be interrupted; then the process ends
_PAUSED = 4  # its exit code, as README's table has it
_NOTE_S = 5.0  # for the note that says why: its disk may be the one that hangs


class _Hung(BaseException):
    """Not an Exception, so that no `except Exception` on the way swallows it."""


@contextmanager
def watched(what: str) -> Iterator[None]:
    """Interrupt the body when it and the processes it started compute nothing for five minutes.

    Looks are counted, not seconds: time in which the process is stopped does not count. Only the
    main thread can be interrupted; in another one the body runs unwatched, as inside of `watched`.

    Args:
        what: The work, for the message: "calibration".

    Raises:
        TrialFailed: ("timeout") It hung; names the file at hand.
    """
    here = threading.current_thread() is threading.main_thread()
    if not here or not hasattr(signal, "pthread_kill") or _Watching.now:
        yield
        return
    before = signal.getsignal(signal.SIGALRM)
    watching = _Watching(what, before)
    signal.signal(signal.SIGALRM, watching.ring)
    _Watching.now = True
    try:
        watching.start()
        yield
    except _Hung:
        raise TrialFailed("timeout", watching.hung) from None
    finally:
        watching.done.set()  # from now on a signal does nothing
        _Watching.now = False
        signal.signal(signal.SIGALRM, signal.SIG_DFL if before is None else before)


@contextmanager
def last_words(file: Path) -> Iterator[None]:
    """Have a process that must end because its work hangs leave the reason in this file.

    Args:
        file: Of whoever looks after the process; its folder is there.
    """
    before, _Watching.note = _Watching.note, file
    try:
        yield
    finally:
        _Watching.note = before


def leave_note(file: Path, words: str) -> None:
    """Write a note, in a thread of its own: the disk may be what hangs."""
    content = words.encode("utf-8", "replace")
    writing = threading.Thread(target=_write, args=(file, content), daemon=True)
    writing.start()
    writing.join(_NOTE_S)


def end_paused(why: str) -> NoReturn:
    """End this process at once, with the exit code of a search that is paused."""
    os.write(2, f"autoprune: paused: {why}\n".encode("utf-8", "replace"))
    os._exit(_PAUSED)


class _Watching(threading.Thread):
    now = False  # one at a time
    note: Path | None = None

    def __init__(self, what: str, before: Any) -> None:
        super().__init__(daemon=True, name="autoprune-watchdog")
        self.what, self.before = what, before
        self.done, self.hung = threading.Event(), ""
        self.main = threading.main_thread()
        # what draws the screen, and this thread, computes whatever the body does
        self.others = {each.native_id for each in threading.enumerate() if each is not self.main}

    def run(self) -> None:
        """Look until the body is done."""
        self.others.add(self.native_id)
        idle_s = 0.0
        while not self._waited(LOOK_S):
            idle_s = 0.0 if self._computes() else idle_s + LOOK_S
            if idle_s >= IDLE_S:
                self._interrupt()
                if idle_s >= IDLE_S + GRACE_S:
                    if self.note is not None:
                        leave_note(self.note, self.hung)
                    end_paused(self.hung)

    def ring(self, number: int, frame: FrameType | None) -> None:
        """What the main thread does on the signal."""
        if self.done.is_set():
            return
        if self.hung:
            raise _Hung
        if callable(self.before):  # somebody else's
            self.before(number, frame)

    def _waited(self, seconds: float) -> bool:
        self.spent = self._spent_s()
        return self.done.wait(seconds)

    def _computes(self) -> bool:
        return self._spent_s() - self.spent >= IDLE_SHARE * LOOK_S

    def _interrupt(self) -> None:
        file = _file_at_hand(sys._current_frames().get(self.main.ident or 0))
        at = "" if file is None else f" at {file}"
        self.hung = f"{self.what} hangs{at}: nothing was computed for {IDLE_S:.0f} s"
        with suppress(ProcessLookupError):
            signal.pthread_kill(self.main.ident or 0, signal.SIGALRM)

    def _spent_s(self) -> float:
        """Seconds of processor time of the body's threads and the process's children."""
        own = psutil.Process()
        spent = 0.0
        with suppress(psutil.Error):
            threads = [each for each in own.threads() if each.id not in self.others]
            spent += sum(each.user_time + each.system_time for each in threads)
        with suppress(psutil.Error):
            for child in own.children(recursive=True):
                with suppress(psutil.Error):  # it has just ended
                    spent += sum(child.cpu_times()[:2])
        return spent


def _write(file: Path, words: bytes) -> None:
    with suppress(OSError):
        write_atomic(file, words)


def _file_at_hand(frame: FrameType | None) -> Path | None:
    """The file that the innermost function with one is about; the disk is not asked."""
    while frame is not None:
        for value in frame.f_locals.values():
            path = _as_file(value)
            if path is not None:
                return path
        frame = frame.f_back
    return None


def _as_file(value: Any) -> Path | None:
    if not isinstance(value, (str, Path)) or not 1 < len(str(value)) < 1000:
        return None
    path = Path(value)
    return path if path.is_absolute() and path.suffix not in {"", ".py", ".so"} else None
