"""A real file system of a few MB, in memory, to be filled."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.faults.finding import Finding

NO_DISK = Finding(0, {"not run": "no file system can be mounted here: not root?"}, ["not run"])


@contextmanager
def small_disk(size: int) -> Iterator[Path | None]:
    """Its folder, open to every user; None where none can be mounted."""
    with tempfile.TemporaryDirectory(prefix="d") as folder:
        os.chmod(folder, 0o755)
        disk = Path(folder) / "d"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
        if os.getuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
            yield None
            return
        try:
            yield disk
        finally:
            subprocess.run(["umount", str(disk)], check=True)


def fill(filler: Path, left: int) -> None:
    """Write a file that leaves so many bytes of its disk."""
    with filler.open("wb") as stream:
        status = os.statvfs(filler.parent)
        stream.write(bytes(max(0, status.f_bavail * status.f_frsize - left)))
