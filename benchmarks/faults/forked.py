"""Processes that are killed and begun again, without importing torch each time: forks of this one.

This process itself opens no database and starts no thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable

DONE = 0


def fork(work: Callable[[], object]) -> int:
    """Begin work in a process of its own; it ends with 0, or with 1 after an exception."""
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    code = DONE
    try:
        work()
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        sys.stderr.flush()
        os._exit(code)


def kill(pid: int) -> None:
    """Kill it, as the system does when memory is out."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def wait(pid: int) -> int:
    """Its exit code; less than 0 for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
