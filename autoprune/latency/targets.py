"""The table of targets: where the runner runs, and the protocol that each of them meets."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from autoprune.domain.config import DEFAULT_TARGET_PYTHON
from autoprune.domain.table import Table
from autoprune.errors import ConfigError

SSH_VARIABLE = "AUTOPRUNE_SSH"
"""Environment variable: another ssh client, or arguments for it, as in `ssh -F my_config`."""


class LatencyTarget(Protocol):
    """A machine that measures latency."""

    def run(self, job: dict[str, Any], files: Sequence[Path], timeout_s: float) -> dict[str, Any]:
        """Run the runner once, alone on that machine, and return its answer.

        Args:
            job: The runner's job. Wherever it names a file, it holds exactly `str(path)` of one of
                `files`, so that a remote target can replace it by the place it sent the file to.
            files: Every file the job needs.
            timeout_s: Limit for the runner itself, in seconds.

        Returns:
            The runner's answer, an unchecked JSON object without "error".

        Raises:
            ConfigError: The target lacks the runtime or the provider that was asked for.
            TrialFailed: "timeout", "oom", or "latency" (the model does not run, broken answer).
            TargetUnreachable: The device is gone, or busy with another measurement for long.
        """
        ...


@dataclass(frozen=True)
class TargetScheme:
    """One way to reach a machine.

    Attributes:
        name: What stands before "://" in `--target`, or all of it.
        summary: What it is, in one line.
        form: What `--target` looks like, such as "ssh://user@host[:port]".
        make: (text, interpreter there) -> the target, not contacted yet. It raises ConfigError for
            a text or an interpreter that cannot be meant.
    """

    name: str
    summary: str
    form: str
    make: Callable[[str, str], LatencyTarget]


def _local(text: str, python: str) -> LatencyTarget:
    if text != "local":
        raise ConfigError.of("--target", "", text, "local")
    if python != DEFAULT_TARGET_PYTHON:
        raise ConfigError.of("--target-python", "", python, "--target ssh://... with it")
    from autoprune.latency.local_target import LocalTarget

    return LocalTarget()


def _ssh(text: str, python: str) -> LatencyTarget:
    from autoprune.latency.ssh_target import SshTarget

    asked = os.environ.get(SSH_VARIABLE, "")
    try:
        command = shlex.split(asked) or ["ssh"]
    except ValueError as error:
        raise ConfigError.of(SSH_VARIABLE, "", asked, f"a command ({error})") from None
    return SshTarget(text, python, ssh_command=command)


TARGETS = Table(
    "autoprune.targets",
    TargetScheme,
    [
        TargetScheme("local", "This machine.", "local", _local),
        TargetScheme(
            "ssh",
            "Another machine, through your own ssh client.",
            "ssh://user@host[:port]",
            _ssh,
        ),
    ],
)


def target_from(text: str, python: str = DEFAULT_TARGET_PYTHON) -> LatencyTarget:
    """The target that `--target` and `--target-python` name; it is not contacted yet.

    Args:
        text: "local", "ssh://user@host[:port]", or as another row of the table says.
        python: The interpreter there.

    Raises:
        ConfigError: No such target, or an interpreter that cannot be meant.
    """
    name = text.partition("://")[0]
    if name not in TARGETS.names():
        raise ConfigError.of("--target", "", text, forms())
    return TARGETS.row(name, "--target").make(text, python)


def forms() -> str:
    """What `--target` may look like, in a sentence; no package's module is imported for it."""
    shipped = {row.name: row.form for row in TARGETS.shipped()}
    return " or ".join(shipped.get(name, f"{name}://...") for name in TARGETS.names())
