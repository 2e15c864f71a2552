"""local_answers: run an exported file in its runtime on this machine and get its raw outputs."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from autoprune.errors import TrialFailed
from autoprune.latency import answering_program, runner
from autoprune.latency.answering_program import packed, read_frame, unpacked, write_frame
from autoprune.latency.exported_model import ExportedModel
from autoprune.latency.local_target import clean_environment, kill_group
from autoprune.latency.options import RuntimeOptions
from autoprune.latency.pipe_reader import PipeReader
from autoprune.latency.runner_output import printable_lines, raise_error

LOAD_S = 300.0  # a runtime may compile the model
IMAGE_S = 120.0

Array = np.ndarray[Any, Any]


@contextlib.contextmanager
def local_answers(
    exported: ExportedModel, options: RuntimeOptions, outputs: int | None = None
) -> Iterator[Callable[[Array], list[Array]]]:
    """Load a file in its runtime, in a clean process of its own, for as long as this is open.

    Args:
        exported: The file.
        options: The runtime, its provider and threads, as for a measurement.
        outputs: How many outputs to give: 2 for masks; by default as many as the file's reference
            has, and 1 where it has none.

    Yields:
        Float32 image (1, channels, height, width) in [0, 1] -> the file's outputs, in their order.
        It raises TrialFailed: "latency" (the file does not run), "timeout" or "oom".

    Raises:
        ConfigError: The runtime or the provider is not here.
        TrialFailed: "latency" when the file cannot be loaded, "timeout" or "oom".
    """
    known = len(exported.reference) - 1 if exported.reference else 1
    count = outputs or known
    request = {
        "runner": runner.__file__,
        "model": str(exported.path),
        "outputs": count,
        "job": options.as_job(),
    }
    with _Child(exported.path) as child:
        child.send(json.dumps(request).encode())
        child.receive(LOAD_S)

        def answers(image: Array) -> list[Array]:
            child.send(packed(np.ascontiguousarray(image, dtype=np.float32)))
            return [unpacked(child.receive(IMAGE_S)) for _ in range(count)]

        yield answers


class _Child:
    """The answering process, and the frames to and from it."""

    def __init__(self, model: Path) -> None:
        self.model = model
        self.process = subprocess.Popen(
            [sys.executable, answering_program.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean_environment(),
            start_new_session=os.name == "posix",
        )
        assert self.process.stderr is not None
        self.complaint = PipeReader(self.process.stderr, None)

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        kill_group(self.process)
        self.complaint.close()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):  # what was not sent
                stream.close()

    def send(self, content: bytes) -> None:
        """Send a frame; that the child is gone shows when it is asked for an answer."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            write_frame(self.process.stdin, content)

    def receive(self, limit_s: float) -> bytes:
        """The next frame that is no error."""
        assert self.process.stdout is not None
        late = threading.Event()

        def give_up() -> None:
            late.set()
            kill_group(self.process)

        timer = threading.Timer(limit_s, give_up)
        timer.start()
        try:
            content = read_frame(self.process.stdout)
        finally:
            timer.cancel()
        if late.is_set():
            raise TrialFailed("timeout", f"{self.model.name}: no answer within {limit_s:g} s")
        if content is None:
            raise self._ended()
        if content.startswith(b'{"error"'):  # an array begins with \x93NUMPY
            raise_error(json.loads(content)["error"])
        return content

    def _ended(self) -> TrialFailed:
        status = self.process.wait()
        if status == -9:
            return TrialFailed("oom", f"{self.model.name}: killed, as when memory is out")
        lines = printable_lines(self.complaint.kept.decode("utf-8", "replace"))
        ending = f"exit status {status}" + (f": {lines[-1]}" if lines else "")
        return TrialFailed("latency", f"{self.model.name}: the runtime ended ({ending})")
