"""Temporary folders, all below one of this process, which goes with it.

A process that is killed leaves its folder behind. The system frees the lock in it, by which the
next process on this machine tells it from one that is in use, and removes it.
"""

from __future__ import annotations

import atexit
import os
import platform
import shutil
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import filelock

PREFIX = "autoprune-"
LOCK = ".lock"
MARK = ".autoprune-scratch"  # holds the name of the machine, whose locks alone count
_YOUNG_S = 60.0  # a folder may just be in the making


class _Own:
    """The folder of this process."""

    making = threading.Lock()
    path: Path | None = None
    pid = 0
    lock: filelock.BaseFileLock | None = None


def scratch_folder(purpose: str) -> tempfile.TemporaryDirectory[str]:
    """A temporary folder, removed at the end of its `with`, or with this process."""
    return tempfile.TemporaryDirectory(
        prefix=f"{purpose}-", dir=process_folder(), ignore_cleanup_errors=True
    )


def process_folder() -> Path:
    """The folder that holds all temporary ones of this process; made when first asked for."""
    with _Own.making:
        if _Own.path is None or _Own.pid != os.getpid() or not _Own.path.is_dir():  # forked
            remove_abandoned()
            path = Path(tempfile.mkdtemp(prefix=PREFIX))
            lock = filelock.FileLock(path / LOCK)
            with suppress(OSError, NotImplementedError):  # a disk without locks
                lock.acquire(timeout=0)
                (path / MARK).write_text(platform.node(), encoding="utf-8")
            _Own.path, _Own.pid, _Own.lock = path, os.getpid(), lock
            atexit.register(_remove, path, os.getpid())
        return _Own.path


def remove_abandoned() -> None:
    """Remove what processes of this machine left in the temporary folder that are no more."""
    for mark in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{MARK}"):
        with suppress(OSError, ValueError, NotImplementedError, filelock.Timeout):
            young = time.time() - mark.stat().st_mtime < _YOUNG_S
            if young or mark.read_text(encoding="utf-8") != platform.node():
                continue
            lock = filelock.FileLock(mark.with_name(LOCK))
            lock.acquire(timeout=0)
            lock.release()
            shutil.rmtree(mark.parent, ignore_errors=True)


def _remove(folder: Path, pid: int) -> None:
    if pid == os.getpid():  # a forked child inherits this, not the folder
        if _Own.lock is not None and _Own.path == folder:
            _Own.lock.release()
        shutil.rmtree(folder, ignore_errors=True)
