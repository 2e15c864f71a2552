"""SshTarget: measures on another machine, through the user's own ssh client."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar

import tenacity
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autoprune.errors import ConfigError, TargetUnreachable, TrialFailed
from autoprune.latency import runner
from autoprune.latency.options import LOCK_WAIT_S
from autoprune.latency.runner_output import MAX_OUTPUT_BYTES, parse_ended, printable_lines
from autoprune.latency.ssh_address import SshAddress
from autoprune.latency.ssh_session import ConnectionDropped, SshSession

CACHE_BYTES = 2_000_000_000
_ENDING_S = 30.0  # for what comes around a measurement: starting, hashing, the way back

_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")

_Short = Annotated[str, Field(max_length=1000)]


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True)


class _Problem(_Reply):
    kind: Literal["modules", "busy", "storage"]
    message: _Short


class _Ready(_Reply):
    """The device is locked for us; what it lacks, and where it keeps files."""

    missing: tuple[str, ...]
    folder: _Short


class _Ended(_Reply):
    """How the runner ended, before its stdout."""

    returncode: int
    timed_out: bool
    complaint: str
    bytes: Annotated[int, Field(ge=0, le=MAX_OUTPUT_BYTES + 1)]


_AnyReply = TypeVar("_AnyReply", bound=_Reply)


class SshTarget:
    """A device that ssh reaches and that has Python >= 3.9, numpy and the runtime.

    Keys, known hosts and jump hosts are those of the user's ssh configuration. Files are kept on
    the device by content, so that a model is sent once; measurements run there one at a time.

    Example:
        >>> target = SshTarget("ssh://pi@raspberrypi.local", python="venv/bin/python")
    """

    def __init__(
        self,
        url: str,
        python: str = "python3",
        *,
        ssh_command: Sequence[str] = ("ssh",),
        runner_path: Path = Path(runner.__file__),
        cache_bytes: int = CACHE_BYTES,
        lock_wait_s: float = LOCK_WAIT_S,
        tries: int = 3,
        backoff_s: float = 5.0,
    ) -> None:
        """Choose the device; nothing is contacted yet.

        Args:
            url: `ssh://user@host[:port]`.
            python: The interpreter there; a relative path starts in the home folder.
            ssh_command: The client and arguments for it, e.g. ("ssh", "-F", "my_config").
            runner_path: The program that measures.
            cache_bytes: Files there are deleted, oldest use first, above this sum.
            lock_wait_s: How long to wait for another measurement there to end.
            tries: How often a connection is tried before the device counts as gone.
            backoff_s: Pause before the second try; doubled before each further one.

        Raises:
            ConfigError: The URL or the interpreter cannot be what is meant.
        """
        self.address = SshAddress.parse(url)
        self.python = python.removeprefix("~/")  # ssh begins in the home folder
        if not self.python.isprintable() or self.python[:1] in ("", "-", "~"):
            expected = "a Python interpreter there: a command, or its path"
            raise ConfigError.of("--target-python", "", python, expected)
        self.ssh_command = tuple(ssh_command)
        self.runner_path = runner_path
        self.cache_bytes, self.lock_wait_s = cache_bytes, lock_wait_s
        self.tries, self.backoff_s = tries, backoff_s

    def run(self, job: dict[str, Any], files: Sequence[Path], timeout_s: float) -> dict[str, Any]:
        """See `LatencyTarget.run`; a measurement cut short by the connection is made anew."""
        for path in files:
            if not path.is_file():
                raise TrialFailed("latency", f"{path} does not exist")
        names = {path: _content_name(path) for path in files}
        trying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.tries),
            wait=tenacity.wait_exponential(multiplier=self.backoff_s),
            retry=tenacity.retry_if_exception_type(ConnectionDropped),
            reraise=True,
        )
        try:
            return trying(self._measure, job, names, timeout_s)
        except ConnectionDropped as error:
            message = f"{self.address} cannot be reached, tried {self.tries} times: {error}"
            raise TargetUnreachable(message) from None

    def _measure(
        self, job: dict[str, Any], names: dict[Path, str], timeout_s: float
    ) -> dict[str, Any]:
        """One try."""
        program = _content_name(self.runner_path)
        sources = {name: path for path, name in names.items()} | {program: self.runner_path}
        request: dict[str, object] = {
            "modules": ["numpy", *(job.get("packages") or ())],
            "files": list(sources),
            "cache_bytes": self.cache_bytes,
            "lock_wait_s": self.lock_wait_s,
        }
        with SshSession(self.address, self.python, self.ssh_command) as session:
            session.greet()
            session.send(request)
            ready = self._read(_Ready, session.receive(self.lock_wait_s + 2 * _ENDING_S))
            for name in ready.missing:
                if name not in sources:
                    raise TrialFailed("latency", "the device asks for a file that is not its own")
                session.send_file(name, sources[name])
            there = {str(path): f"{ready.folder}/{name}" for path, name in names.items()}
            text = json.dumps(_renamed(job, there))
            session.send(
                {
                    "runner": program,
                    "job": text,
                    "limit_s": timeout_s,
                    "scrubbed": runner.SCRUBBED_VARIABLES,
                }
            )
            ended = self._read(_Ended, session.receive(timeout_s + _ENDING_S))
            raw = session.receive_bytes(ended.bytes)
        if ended.timed_out:
            raise TrialFailed("timeout", f"the measurement took longer than {timeout_s:g} s")
        return parse_ended(raw, ended.returncode, ended.complaint)

    def _read(self, kind: type[_AnyReply], line: bytes) -> _AnyReply:
        try:
            content = json.loads(line)
            if isinstance(content, dict) and "error" in content:
                self._raise_problem(_Problem.model_validate(content["error"]))
            return kind.model_validate(content)
        except (ValidationError, ValueError, RecursionError):
            shown = line[:60].decode("utf-8", "replace")
            raise TrialFailed("latency", f"the device's answer is broken: {shown!r}") from None

    def _raise_problem(self, problem: _Problem) -> NoReturn:
        message = " ".join(printable_lines(problem.message))
        if problem.kind == "modules":
            python, _, modules = message.rpartition(": ")
            if not all(map(_MODULE.fullmatch, modules.split() or [""])):  # it becomes a command
                raise ValueError(modules)
            advice = f"{shlex.quote(python)} -m pip install {modules}"
            raise ConfigError(
                f"--target: {self.address}: {python} has no {modules.replace(' ', ' and no ')}:"
                f" run there `{advice}`, or name another interpreter with --target-python"
            )
        if problem.kind == "busy":
            raise TargetUnreachable(f"{self.address}: {message}")
        raise TargetUnreachable(f"{self.address}: files cannot be kept there: {message}")


def _content_name(path: Path) -> str:
    """SHA-256 of the content and the suffix, by which runtimes know a format."""
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest() + path.suffix.lower()


def _renamed(value: Any, there: dict[str, str]) -> Any:
    """The job with each path of a sent file replaced by its path on the device."""
    if isinstance(value, dict):
        return {key: _renamed(each, there) for key, each in value.items()}
    if isinstance(value, list):
        return [_renamed(each, there) for each in value]
    return there.get(value, value) if isinstance(value, str) else value
