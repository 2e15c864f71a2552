"""PipeReader: drains a child's pipe in a thread, so that the child never blocks."""

from __future__ import annotations

import os
import threading
import time
from typing import IO

_TAIL_BYTES = 8192


class PipeReader(threading.Thread):
    """Reads a pipe to its end and keeps a bounded part of it in `kept`.

    With a `limit` reading stops at that many bytes; without one only the tail is kept.
    """

    def __init__(self, stream: IO[bytes], limit: int | None) -> None:
        super().__init__(daemon=True)
        self.kept = b""
        self._stream = stream
        self._limit = limit
        self.start()

    def run(self) -> None:
        """Read until the end or the limit."""
        if self._limit is not None:
            self.kept = self._stream.read(self._limit)
            return
        while chunk := os.read(self._stream.fileno(), 4096):  # as it comes, not 4096 at a time
            self.kept = (self.kept + chunk)[-_TAIL_BYTES:]

    def finish(self, deadline: float) -> None:
        """Wait for the end; TimeoutError at the deadline (of time.monotonic)."""
        self.join(max(0.0, deadline - time.monotonic()))
        if self.is_alive():
            raise TimeoutError

    def close(self) -> None:
        """Close the pipe, unless a process that escaped its group still holds it open."""
        self.join(2.0)
        if not self.is_alive():
            self._stream.close()
