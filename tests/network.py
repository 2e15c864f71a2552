"""Programs without a network, and what they asked of one all the same."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

_ASKED = """\
import os, sys

def _note(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.bind"):
        own = arguments[0]
        if getattr(own, "family", None) == 1:  # a socket of this machine alone
            return
        if event == "socket.bind" and arguments[1][0] == "::1":  # urllib3 looks whether it can
            return
        with open(os.environ["NETWORK_LOG"], "a") as log:
            log.write(f"{event} {arguments[1:] or arguments}\\n")

sys.addaudithook(_note)
"""


@functools.cache
def no_network() -> tuple[str, ...]:
    """What a command is begun with to run in a namespace without network; empty where none can."""
    for command in (("unshare", "-n"), ("unshare", "-rn")):  # as root, as anybody
        try:
            done = subprocess.run([*command, "true"], capture_output=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return ()
        if done.returncode == 0:
            return command
    return ()


def noted(folder: Path) -> dict[str, str]:
    """Variables by which every Python program begun with them notes what it asks of the network.

    Args:
        folder: For the program that does so and for `network.log`.
    """
    (folder / "sitecustomize.py").write_text(_ASKED)
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path, "NETWORK_LOG": str(folder / "network.log")}
