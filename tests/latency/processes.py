"""Waiting for processes of a test to appear and to end."""

from __future__ import annotations

import time
from pathlib import Path

import psutil


def is_gone(pid: int) -> bool:
    """Whether a process ends within a few seconds."""
    for _ in range(50):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.1)
    return False


def wait_for_file(path: Path) -> str:
    """The first line of a file that another process is about to write."""
    for _ in range(400):
        if path.exists() and (text := path.read_text()).endswith("\n"):
            return text
        time.sleep(0.05)
    raise AssertionError(f"{path} was not written")
