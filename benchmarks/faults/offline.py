"""F29: a real search in a namespace without network, traced: sockets beyond loopback."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.faults.finding import Finding
from benchmarks.faults.real_search import RealSearch

_CALL = re.compile(
    r"(connect|sendto|sendmsg|bind)\(.*sa_family=AF_INET6?,.*?(?:addr\(|, \")([^\")]+)"
)
_LOOPBACK = re.compile(r"127\.|::1$|0\.0\.0\.0$")


def run() -> Finding:
    """Everything that the search and its children ask of the kernel's network."""
    for tool in ("strace", "unshare"):
        if shutil.which(tool) is None:
            return Finding(0, {"not run": f"{tool} is not installed"}, ["not run"])
    if subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode:
        return Finding(0, {"not run": "no namespaces here"}, ["not run"])
    wrong, asked = [], Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace"
        calls = "trace=connect,sendto,sendmsg,bind,socket"
        before = ("unshare", "-n", "strace", "-f", "-qq", "--seccomp-bpf", "-e", calls,
                  "-o", str(trace))  # fmt: skip
        search = RealSearch(Path(folder), before)
        process = search.begin()
        _, said = process.communicate()
        if process.returncode not in (0, 3):
            wrong.append(f"exit {process.returncode}: {said[-300:]}")
        text = trace.read_text(errors="replace")
        for call, address in _CALL.findall(text):
            if not _LOOPBACK.match(address):
                asked[f"{call} {address}"] += 1
        sockets = len(re.findall(r"socket\(AF_INET6?,", text))
        home = search.root / "home"
        odd = [path for path in ("intel", ".cache/Microsoft", ".config/Ultralytics")
               if (home / path).exists()]  # fmt: skip
    wrong += [f"asked for {what}, {times} times" for what, times in asked.items()]
    wrong += [f"written to the home folder: {path}" for path in odd]
    found = {"internet sockets opened": sockets, "addresses beyond loopback": len(asked)}
    return Finding(1, found, wrong)
