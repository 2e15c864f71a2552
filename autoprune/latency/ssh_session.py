"""SshSession: one run of the user's ssh client, with the device program at its other end."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from autoprune.errors import ConfigError, TargetUnreachable, TrialFailed
from autoprune.latency.pipe_reader import PipeReader
from autoprune.latency.runner_output import printable_lines
from autoprune.latency.ssh_address import SshAddress

GREETING = b"autoprune-device 1\n"
BEAT_S = 5.0  # the device program gives up after several of these without a sign of us
CONNECT_S = 60.0
_MAX_LINE_BYTES = 1 << 16
_MAX_NOISE_LINES = 500  # what login scripts may print before the greeting
_SSH_FAILED = 255
_PROGRAM = Path(__file__).with_name("device_program.py")

# No option here weakens a check. Forwardings and commands that the user's configuration sets up
# for interactive logins would fail or hang when several connections are open.
_OPTIONS = (
    "BatchMode=yes",
    "ConnectTimeout=15",
    "ServerAliveInterval=10",
    "ServerAliveCountMax=3",
    "LogLevel=ERROR",
    "ClearAllForwardings=yes",
    "RemoteCommand=none",
)
# Reads the device program from stdin; the home folder, where ssh begins, shadows no module.
_LOADER = (
    "import sys;sys.path[:]=[p for p in sys.path if p];"
    "sys.version_info<(3,9) and sys.exit('Python %d.%d is older than 3.9'%sys.version_info[:2]);"
    "exec(sys.stdin.buffer.read({size}))"
)

# What ssh says -> what it means and what to do. In this order: a changed key says both.
_LOGIN = "Install your key there (ssh-copy-id) so that this works without a question: {by_hand}"
_REFUSALS = (
    (
        "IDENTIFICATION HAS CHANGED",
        "The host key has changed: somebody may be listening. If the device was set up anew,"
        " forget its old key (ssh-keygen -R '{known_as}') and log in once by hand: {by_hand}",
    ),
    (
        "Host key verification failed",
        "The host key is not known here: log in once by hand, compare and accept it: {by_hand}",
    ),
    ("Permission denied (", _LOGIN),
    ("Too many authentication failures", _LOGIN),
)


class ConnectionDropped(Exception):
    """The connection could not be made, or ended early: worth another try."""


class SshSession:
    """A connection; as a context manager it ends the client, and with it what runs on the device.

    Raises:
        ConfigError: No ssh here, or no fit Python there.
        TargetUnreachable: ssh refuses, which another try would not change.
        ConnectionDropped: Anything that another try may change.
    """

    def __init__(self, address: SshAddress, python: str, ssh_command: Sequence[str]) -> None:
        self._address, self._python = address, python
        self._program = _PROGRAM.read_bytes()
        self._late: str | None = None
        loader = _LOADER.format(size=len(self._program))
        remote = f"exec {shlex.quote(python)} -c {shlex.quote(loader)}"
        options = [part for option in _OPTIONS for part in ("-o", option)]
        try:
            self._process = subprocess.Popen(
                [*ssh_command, "-T", *options, *address.arguments(), remote],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=os.name == "posix",
            )
        except OSError as error:
            said = f"{ssh_command[0]}: {error.strerror or error}"
            raise ConfigError(f"--target: ssh cannot be run ({said}): install OpenSSH") from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        self._complaint = PipeReader(self._process.stderr, None)

    def __enter__(self) -> SshSession:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._kill()
        self._process.wait()
        for stream in (self._to, self._from):
            with contextlib.suppress(OSError):
                stream.close()
        self._complaint.close()

    def greet(self) -> None:
        """Start the device program and wait for its greeting."""
        with self._within(CONNECT_S, "no greeting"):
            self._write(self._program)
            for _ in range(_MAX_NOISE_LINES):
                line = self._from.readline(_MAX_LINE_BYTES)
                if line == GREETING:
                    return
                if not line:
                    break
            else:
                self._late = f"only other lines than a greeting, {_MAX_NOISE_LINES} of them"
        raise self._why_it_never_began()

    def send(self, message: dict[str, object]) -> None:
        """Send one message."""
        with self._within(CONNECT_S, "nothing read"):
            self._write(json.dumps(message).encode() + b"\n")

    def send_file(self, name: str, path: Path) -> None:
        """Send a file with its announcement."""
        size = path.stat().st_size
        self.send({"name": name, "bytes": size})
        with self._within(CONNECT_S + size / 50e3, "file not taken"), path.open("rb") as stream:
            while chunk := stream.read(1 << 16):
                self._write(chunk)

    def receive(self, seconds: float) -> bytes:
        """The next message, waited for at most so long, as JSON text."""
        with self._within(seconds, "no answer"), self._beating():
            line = self._from.readline(_MAX_LINE_BYTES)
        if line.endswith(b"\n"):
            return line
        if len(line) == _MAX_LINE_BYTES:
            raise TrialFailed("latency", "the device's answer is broken: an endless line")
        raise self._why_it_stopped()

    def receive_bytes(self, count: int) -> bytes:
        """The bytes a message announced."""
        with self._within(CONNECT_S + count / 50e3, "half an answer"):
            raw = self._from.read(count)
        if len(raw) < count:
            raise self._why_it_stopped()
        return raw

    def _write(self, data: bytes) -> None:
        try:
            self._to.write(data)
            self._to.flush()
        except OSError:  # ssh has ended; reading on tells why
            return

    @contextlib.contextmanager
    def _within(self, seconds: float, missed: str) -> Iterator[None]:
        """Kill ssh after so many seconds, which ends any read and write at once."""

        def too_late() -> None:
            self._late = f"{missed} within {seconds:.0f} s"
            self._kill()

        timer = threading.Timer(seconds, too_late)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    @contextlib.contextmanager
    def _beating(self) -> Iterator[None]:
        """Send an empty line now and then, so that the device knows we still wait."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(BEAT_S):
                self._write(b"\n")

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _kill(self) -> None:
        """End ssh and the proxies it started."""
        if self._process.poll() is not None:
            return
        if os.name == "posix":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()

    def _ended(self) -> tuple[bool, str]:
        """End ssh; whether it was the connection's fault, and the last thing that was said."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.0 if self._late else 5.0)
        self._kill()
        status = self._process.wait()
        said = self._said()
        failed = self._late is not None or status < 0 or status == _SSH_FAILED
        last = said[-1] if said else f"ssh ended with status {status}"
        return failed, self._late or last

    def _why_it_never_began(self) -> Exception:
        dropped, said = self._ended()
        if dropped:
            return self._refusal() or ConnectionDropped(said)
        expected = f"a Python >= 3.9 on {self._address} (it said: {said})"
        return ConfigError.of("--target-python", "", self._python, expected)

    def _why_it_stopped(self) -> Exception:
        dropped, said = self._ended()
        if dropped:
            return ConnectionDropped(said)
        return TrialFailed("latency", f"the program on {self._address} ended early: {said}")

    def _refusal(self) -> TargetUnreachable | None:
        """What no further try would change."""
        said = self._said()
        by_hand, known_as = self._address.by_hand(), self._address.known_as()
        for text, advice in _REFUSALS:
            if any(text in line for line in said):
                what = advice.format(by_hand=by_hand, known_as=known_as)
                return TargetUnreachable(f"{self._address}: ssh refuses: {said[-1]} {what}")
        return None

    def _said(self) -> list[str]:
        """The lines on stderr; a master connection in the background may keep that open."""
        self._complaint.join(1.0)
        return printable_lines(self._complaint.kept.decode("utf-8", "replace"))
