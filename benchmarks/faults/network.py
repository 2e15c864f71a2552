"""What a program asks of the kernel's network, by a trace, where it has none."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

_CALL = re.compile(
    r"(connect|sendto|sendmsg|bind)\(.*sa_family=AF_INET6?,.*?(?:addr\(|AF_INET6, )\"([^\"]+)\""
)
_LOOPBACK = re.compile(r"127\.|::1$|0\.0\.0\.0$")
_SOCKET = re.compile(r"socket\(AF_INET6?,")


def cannot_trace() -> str | None:
    """Why nothing can be traced here, if so."""
    for tool in ("strace", "unshare"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    if subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode:
        return "no namespaces here"
    return None


def traced(trace: Path) -> tuple[str, ...]:
    """What a program is started by, in a namespace without network."""
    calls = "trace=connect,sendto,sendmsg,bind,socket"
    return ("unshare", "-n", "strace", "-f", "-qq", "--seccomp-bpf", "-e", calls, "-o", str(trace))


def asked(trace: Path) -> Counter[str]:
    """Calls with addresses beyond loopback, and how often."""
    found = _CALL.findall(trace.read_text(errors="replace"))
    return Counter(f"{call} {address}" for call, address in found if not _LOOPBACK.match(address))


def sockets(trace: Path) -> int:
    """Sockets of the internet's families that were opened."""
    return len(_SOCKET.findall(trace.read_text(errors="replace")))
