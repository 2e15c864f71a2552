"""Holds a file's lock: alone at once, after waiting, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock


class Held(Exception):
    """Another process holds the lock, and the time to wait for it is over."""


@contextmanager
def alone(
    path: Path,
    when_held: Callable[[], None] | None = None,
    timeout_s: float | None = None,
) -> Iterator[None]:
    """Hold a lock while the body runs; the system frees it when its holder dies, however it dies.

    Args:
        path: The lock file; it and its folder are made.
        when_held: Called once, before waiting, when another process holds the lock.
        timeout_s: How long to wait for it, in seconds; 0 gives up at once, None never.

    Raises:
        Held: It was not free in that time.
        OSError: The file cannot be made or locked.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        if when_held is not None:
            when_held()
        try:
            lock.acquire(timeout=-1 if timeout_s is None else timeout_s)
        except filelock.Timeout:
            raise Held(str(path)) from None
    try:
        yield
    finally:
        lock.release()
