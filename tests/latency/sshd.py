"""A real sshd on a free loopback port, with host keys, user key and configuration of its own."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from autoprune.latency.ssh_target import SshTarget

_SERVER = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
SetEnv XDG_CACHE_HOME={cache} OMP_NUM_THREADS=7
"""
_CLIENT = """\
Host *
    IdentityFile {folder}/user_key
    IdentitiesOnly yes
    IdentityAgent none
    GlobalKnownHostsFile /dev/null
    UserKnownHostsFile {folder}/known_hosts
    StrictHostKeyChecking yes
"""


class Sshd:
    """The server; `target()` makes SshTargets that reach it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cache = folder, folder / "device cache"
        self._program = shutil.which("sshd") or shutil.which(
            "sshd", path="/usr/sbin:/usr/local/sbin"
        )
        self._server: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"
        for tool in (self._program, shutil.which("ssh"), shutil.which("ssh-keygen")):
            if tool is None:
                pytest.skip("no OpenSSH server and client here (Debian: openssh-server)")
        for name in ("host_key", "user_key"):
            make_key(folder / name)
        shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
        self.trust(folder / "host_key.pub")
        values = {"folder": folder, "port": self.port, "cache": f'"{self.cache}"'}
        (folder / "client_config").write_text(_CLIENT.format(**values))
        (folder / "server_config").write_text(_SERVER.format(**values))
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd insists when it runs as root

    @property
    def ssh_command(self) -> tuple[str, ...]:
        """The client as this server's user has configured it."""
        return ("ssh", "-F", str(self.folder / "client_config"))

    def target(self, **settings: Any) -> SshTarget:
        """A target that gives up soon."""
        return SshTarget(self.url, **{"ssh_command": self.ssh_command, "backoff_s": 0.1} | settings)

    def trust(self, public_key: Path) -> None:
        """Make this the host key that the client expects."""
        kind, key, *_ = public_key.read_text().split()
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")

    def start(self) -> None:
        """Listen, if it does not yet; returns once connections are taken."""
        if self._server is not None:
            return
        assert self._program is not None
        log = self.folder / "server_log"
        command = [self._program, "-D", "-f", str(self.folder / "server_config"), "-E", str(log)]
        self._server = subprocess.Popen(command)
        for _ in range(100):
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), 1),
            ):
                return
            if self._server.poll() is not None:
                break
            time.sleep(0.05)
        pytest.skip(f"sshd does not start here: {log.read_text()[-200:]}")

    def kill(self) -> None:
        """Kill the server and its connections, not what they run."""
        if self._server is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self._server.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if child.name().startswith("sshd"):
                        child.kill()
        self._server.kill()
        self._server.wait()
        self._server = None

    def sent(self) -> list[str]:
        """Names of the files on the device."""
        folder = self.cache / "autoprune" / "device"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def make_key(path: Path) -> Path:
    """A new key pair without a passphrase; returns the public one."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(command, check=True)
    return path.with_suffix(".pub")


@contextlib.contextmanager
def running_sshd(folder: Path) -> Iterator[Sshd]:
    """A server that takes logins, or a skipped test with the reason."""
    sshd = Sshd(folder)
    sshd.start()
    try:
        destination = ["-p", str(sshd.port), "127.0.0.1", "true"]
        login = [*sshd.ssh_command, "-o", "BatchMode=yes", *destination]
        tried = subprocess.run(login, capture_output=True, text=True, check=False)
        if tried.returncode != 0:
            pytest.skip(f"sshd lets this user not log in here: {tried.stderr.strip()[-200:]}")
        yield sshd
    finally:
        sshd.kill()
