"""Runs one model in its runtime and answers for images, until its stdin ends.

A program of its own, started on this machine beside the runner, whose classes load the model: so it
runs as it is timed, and a runtime that crashes or changes its process harms nobody. It imports
nothing of autoprune.

It reads {"runner": path, "model": path, "outputs": number, "job": the runner's} as one frame and
answers {"version"}, then for each frame with an image (.npy) one frame per output (.npy). A frame
is its length in 8 bytes, little-endian, and its content. Instead of any answer there may be
{"error": {"kind", "message"}}, as the runner says it, and the end.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import struct
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

LENGTH = struct.Struct("<Q")


def read_frame(stream: IO[bytes]) -> bytes | None:
    """The next frame; None at the end, also one within a frame."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    content = stream.read(length)
    return content if len(content) == length else None


def write_frame(stream: IO[bytes], content: bytes) -> None:
    """Write a frame and flush."""
    stream.write(LENGTH.pack(len(content)) + content)
    stream.flush()


def packed(array: np.ndarray[Any, Any]) -> bytes:
    """An array as .npy."""
    held = io.BytesIO()
    np.save(held, array, allow_pickle=False)
    return held.getvalue()


def unpacked(content: bytes) -> np.ndarray[Any, Any]:
    """The array in an .npy.

    Raises:
        ValueError: It is none.
    """
    array: np.ndarray[Any, Any] = np.load(io.BytesIO(content), allow_pickle=False)
    return array


def _answers(asked: IO[bytes], runner: Any, request: dict[str, Any]) -> Iterator[bytes]:
    """What is said, frame by frame."""
    model = runner.loader_of(request["job"])(request["model"], request["job"])
    yield json.dumps({"version": model.version}).encode()
    while (frame := read_frame(asked)) is not None:
        image = unpacked(frame)
        for number in range(request["outputs"]):
            yield packed(model.output(image, number) if number else model.output(image))


def main() -> int:
    """Load the model, answer until stdin ends."""
    if sys.path and os.path.realpath(sys.path[0]) == os.path.dirname(os.path.realpath(__file__)):
        del sys.path[0]  # the neighbours of this file must not shadow installed modules
    asked, answering = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a runtime prints goes to stderr
    request = json.loads(read_frame(asked) or b"{}")
    spec: Any = importlib.util.spec_from_file_location("runner", request["runner"])
    runner = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(runner)
    runner.die_with_parent()
    try:
        for frame in _answers(asked, runner, request):
            write_frame(answering, frame)
    except Exception as error:
        write_frame(answering, json.dumps(runner.error_of(error)).encode())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
