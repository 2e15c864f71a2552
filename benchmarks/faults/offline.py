"""F29: a real search in a namespace without network, traced: sockets beyond loopback."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.faults.finding import Finding
from benchmarks.faults.network import asked, cannot_trace, sockets, traced
from benchmarks.faults.real_search import RealSearch

_HOME = ("intel", ".cache/Microsoft", ".config/Ultralytics")  # where others write


def run() -> Finding:
    """Everything that the search and its children ask of the kernel's network."""
    if (why := cannot_trace()) is not None:
        return Finding(0, {"not run": why}, ["not run"])
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace"
        search = RealSearch(Path(folder), traced(trace))
        process = search.begin()
        _, said = process.communicate()
        if process.returncode not in (0, 3):
            wrong.append(f"exit {process.returncode}: {said[-300:]}")
        beyond, opened = asked(trace), sockets(trace)
        odd = [path for path in _HOME if (search.root / "home" / path).exists()]
    wrong += [f"asked for {what}, {times} times" for what, times in beyond.items()]
    wrong += [f"written to the home folder: {path}" for path in odd]
    found = {"internet sockets opened": opened, "addresses beyond loopback": len(beyond)}
    return Finding(1, found, wrong)
