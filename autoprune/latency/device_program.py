"""Runs on the device of an ssh target: receives files, runs the runner alone, ends with its client.

A stand-alone program for Python >= 3.9 on Linux or macOS: it is sent over ssh and imports nothing
of autoprune. It talks in lines of JSON, raw bytes after the lines that announce them:

    device: GREETING
    client: {"modules": names to import, "files": names, "cache_bytes", "lock_wait_s"}
    device: {"missing": names, "folder": where files are}         the device is now locked
    client: {"name", "bytes"} and the bytes, for each that is missing
    client: {"runner": name, "job": text for the runner's stdin, "limit_s", "scrubbed": what the
             names of environment variables begin with that the runner must not see}
    device: {"returncode", "timed_out", "complaint", "bytes"} and the runner's stdout

or, instead of any of its lines, {"error": {"kind": "modules" | "busy" | "storage", "message"}}.
A file's name is the SHA-256 of its content and its suffix. While the client waits it sends empty
lines; when they stay away, or the connection ends, the runner is killed and the lock is free.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GREETING = "autoprune-device 1"
SILENCE_S = 30.0  # a client not heard of for so long is gone
MAX_ANSWER_BYTES = (8 << 20) + 1  # one more than the client accepts
_LOCK_POLL_S = 0.25
_ENDING_POLL_S = 0.02
_TAIL_BYTES = 4096
_DRAFT = ".part"
GONE = 255  # exit status: the client is gone; ssh's own for a broken connection
_SPARE_BYTES = 100_000_000  # left free on the device's disk
_NAME = re.compile(r"([0-9a-f]{64})\.[a-z0-9]{1,8}")


class ClientGone(Exception):
    """The connection ended, or nothing was heard for SILENCE_S."""


class DeviceError(Exception):
    """The device cannot do it; `kind` tells the client what to do about it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Client:
    """The client at the other end of stdin and stdout."""

    def __init__(self) -> None:
        self._held = b""
        self._heard = time.monotonic()

    def wait(self, seconds: float, *others: int) -> list[int]:
        """Sleep until something can be read, or for `seconds`; which of `others` can be read."""
        ready, _, _ = select.select([0, *others], [], [], max(0.0, min(seconds, SILENCE_S)))
        now = time.monotonic()
        if 0 in ready:
            received = os.read(0, 1 << 16)
            if not received:
                raise ClientGone
            self._held, self._heard = self._held + received, now
        elif now - self._heard > SILENCE_S:
            raise ClientGone
        return [other for other in others if other in ready]

    def line(self) -> dict[str, Any]:
        """The next message; empty lines only say that the client is there."""
        while True:
            text, found, rest = self._held.partition(b"\n")
            if not found:
                self.wait(SILENCE_S)
                continue
            self._held = rest
            if text.strip():
                message: dict[str, Any] = json.loads(text)
                return message

    def chunks(self, count: int) -> Iterator[bytes]:
        """The next `count` raw bytes."""
        while count > 0:
            if not self._held:
                self.wait(SILENCE_S)
            chunk, self._held = self._held[:count], self._held[count:]
            count -= len(chunk)
            yield chunk

    def tell(self, message: dict[str, Any], raw: bytes = b"") -> None:
        """Send one message and the bytes it announces."""
        sys.stdout.buffer.write(json.dumps(message).encode() + b"\n" + raw)
        sys.stdout.buffer.flush()


class Cache:
    """Received files, named by their content; the longest unused go when the limit is passed."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder, self.limit_bytes = folder, limit_bytes

    def missing(self, names: list[str]) -> list[str]:
        """Which are not here unharmed; the others are marked as used now."""
        return [name for name in dict.fromkeys(names) if not self._has(name)]

    def make_room(self, incoming_bytes: int, needed: list[str]) -> None:
        """Delete what an interrupted transfer left, then the longest unused, down to the limit."""
        ages = []
        for path in self.folder.iterdir():
            if _NAME.fullmatch(path.name):
                facts = path.stat()
                ages.append((facts.st_mtime, facts.st_size, path))
            elif path.suffix == _DRAFT:
                path.unlink()
        total = incoming_bytes + sum(size for _, size, _ in ages)
        free = shutil.disk_usage(self.folder).free - incoming_bytes
        for _, size, path in sorted(ages):
            full = total > self.limit_bytes or free < _SPARE_BYTES
            if full and path.name not in needed:
                path.unlink()
                total -= size
                free += size

    def receive(self, name: str, chunks: Iterator[bytes]) -> None:
        """Store a file; it gets its name once all of it is written and its hash is right."""
        draft = self.folder / f"{name}{_DRAFT}"
        digest = hashlib.sha256()
        with draft.open("wb") as stream:
            for chunk in chunks:
                digest.update(chunk)
                stream.write(chunk)
            stream.flush()
            os.fsync(stream.fileno())
        if digest.hexdigest() != _digest_in(name):
            draft.unlink()
            raise DeviceError("storage", f"{name} arrived damaged")
        draft.replace(self.folder / name)

    def _has(self, name: str) -> bool:
        path = self.folder / name
        digest = hashlib.sha256()
        try:
            with path.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    digest.update(chunk)
            if digest.hexdigest() != _digest_in(name):
                path.unlink()
                return False
            os.utime(path)
        except FileNotFoundError:
            return False
        return True


def _digest_in(name: str) -> str:
    found = _NAME.fullmatch(name)
    if found is None:
        raise DeviceError("storage", f"{name!r} is no name of a file")
    return found[1]


def cache_folder() -> Path:
    """`autoprune` in the user's cache: $XDG_CACHE_HOME, else ~/.cache."""
    asked = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (asked if asked.is_absolute() else Path.home() / ".cache") / "autoprune"


@contextlib.contextmanager
def alone(path: Path, wait_s: float, client: Client) -> Iterator[None]:
    """Hold the device's lock; the system frees it when this process dies, however it dies."""
    deadline = time.monotonic() + wait_s
    with path.open("a") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    message = f"another measurement has held {path} for {wait_s:g} s"
                    raise DeviceError("busy", message) from None
            client.wait(_LOCK_POLL_S)
        yield


def run_runner(
    runner: Path, job: str, limit_s: float, scrubbed: tuple[str, ...], client: Client
) -> dict[str, Any]:
    """Run the runner in a process group of its own, which never outlives this call.

    Returns:
        returncode, timed_out, complaint (the end of stderr) and output (bytes, cut just above
        what the client accepts).
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith(scrubbed)}
    with tempfile.TemporaryFile() as stdin:
        stdin.write(job.encode())
        stdin.seek(0)
        process = subprocess.Popen(
            [sys.executable, str(runner)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
            preexec_fn=_dies_with_parent(),
        )
    output, complaint, timed_out = b"", b"", False
    assert process.stdout is not None
    assert process.stderr is not None
    answer, other = process.stdout.fileno(), process.stderr.fileno()
    open_pipes = [answer, other]
    deadline = time.monotonic() + limit_s
    try:
        while answer in open_pipes or process.poll() is None:
            left = deadline - time.monotonic()
            if left <= 0:
                timed_out = True
                break
            # Once stdout is closed nothing tells when the process ends: look again and again.
            pause_s = left if answer in open_pipes else _ENDING_POLL_S
            for ready in client.wait(pause_s, *open_pipes):
                received = os.read(ready, 1 << 16)
                if not received:
                    open_pipes.remove(ready)
                elif ready == answer:
                    output += received
                else:
                    complaint = (complaint + received)[-_TAIL_BYTES:]
            if len(output) >= MAX_ANSWER_BYTES:
                break
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    os.set_blocking(other, False)
    with contextlib.suppress(BlockingIOError):
        complaint = (complaint + os.read(other, 1 << 16))[-_TAIL_BYTES:]
    return {
        "returncode": process.returncode,
        "timed_out": timed_out,
        "complaint": complaint.decode("utf-8", "replace"),
        "output": output[:MAX_ANSWER_BYTES],
    }


def _dies_with_parent() -> Callable[[], None] | None:
    """On Linux: what makes a child be killed when this process is killed; else None."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        import ctypes

        prctl = ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        return None
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG

    def ask() -> None:
        prctl(set_parent_death_signal, signal.SIGKILL)

    return ask


def serve(client: Client) -> None:
    """One measurement, from the request to the answer."""
    request = client.line()
    absent = [name for name in request["modules"] if importlib.util.find_spec(name) is None]
    if absent:
        raise DeviceError("modules", f"{sys.executable}: {' '.join(absent)}")
    names = request["files"]
    folder = cache_folder()
    cache = Cache(folder / "device", request["cache_bytes"])
    with alone(folder / "latency.lock", request["lock_wait_s"], client):
        cache.make_room(0, names)
        missing = cache.missing(names)
        client.tell({"missing": missing, "folder": str(cache.folder)})
        for _ in missing:
            sent = client.line()
            cache.make_room(sent["bytes"], names)
            cache.receive(sent["name"], client.chunks(sent["bytes"]))
        asked = client.line()
        runner = cache.folder / asked["runner"]
        scrubbed = tuple(asked["scrubbed"])
        result = run_runner(runner, asked["job"], asked["limit_s"], scrubbed, client)
    output = result.pop("output")
    client.tell({**result, "bytes": len(output)}, output)


def _leave(_number: int, _frame: Any) -> None:
    raise ClientGone


def main() -> int:
    """Greet, serve one client, leave nothing running."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    client = Client()
    sys.stdout.write(f"\n{GREETING}\n")  # whatever a login script printed ends here
    sys.stdout.flush()
    try:
        serve(client)
    except DeviceError as error:
        client.tell({"error": {"kind": error.kind, "message": str(error)}})
    except (ClientGone, BrokenPipeError):
        os._exit(GONE)  # nobody is there to hear what closing stdout would say
    except OSError as error:
        message = f"{error.filename or cache_folder()}: {error.strerror or error}"
        client.tell({"error": {"kind": "storage", "message": message}})
    return 0


if __name__ == "__main__":
    sys.exit(main())
