"""F40: small files that would take all memory, refused within 200 MB and 2 s."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.faults.finding import Finding

MOST_BYTES, MOST_S = 200_000_000, 2.0
UNPACKED = 6_000_000_000

_PROGRAM = """
import json, resource, sys, time
from autoprune.evaluation.quiet import prepare_environment
prepare_environment()
from autoprune.domain.plan import PruningPlan
from autoprune.evaluation.checkpoint import load_yolo
from autoprune.evaluation.data_yaml import read_data_yaml
from autoprune.demo.bundle import demo_checkpoint
from autoprune.errors import AutopruneError
load_yolo(demo_checkpoint())
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
read = {"model": load_yolo, "plan": PruningPlan.load, "data": read_data_yaml}[sys.argv[1]]
before, began, said = peak(), time.monotonic(), ""
try:
    read(sys.argv[2])
except AutopruneError as error:
    said = str(error)
print(json.dumps([said, peak() - before, time.monotonic() - began]))
"""


def _zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("model/data.pkl", pickle.dumps({}))
        with archive.open("model/data/0", "w", force_zip64=True) as part:
            chunk = bytes(50_000_000)
            for _ in range(UNPACKED // len(chunk)):
                part.write(chunk)


def _text(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text)


_HEAD = "head: [[[-1], 1, Detect, [nc]]]\n"
_ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
CASES: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "a .pt that unpacks to 6 GB": ("model", "bomb.pt", _zipped),
    "a recipe of a billion classes": (
        "model", "a.yaml", _text("nc: 1000000000\nbackbone: [[-1, 1, Conv, [16, 3, 2]]]\n" + _HEAD),
    ),
    "a recipe of a billion channels": (
        "model", "b.yaml", _text("nc: 2\nbackbone: [[-1, 1, Conv, [1000000000, 3, 2]]]\n" + _HEAD),
    ),
    "a recipe that repeats a layer a billion times": (
        "model", "c.yaml", _text("nc: 2\nbackbone: [[-1, 1000000000, Conv, [16, 3, 2]]]\n" + _HEAD),
    ),
    "a plan of aliases of aliases": ("plan", "plan.yaml", _text(_ALIASES)),
    "a data set of a billion classes": (
        "data", "data.yaml", _text("train: .\nval: .\nnc: 1000000000\n"),
    ),
    "a plan of lists in lists": ("plan", "deep.yaml", _text("a: " + "[" * 100_000)),
    "a plan of 50 MB": ("plan", "long.yaml", _text("# " + "x" * 50_000_000)),
}  # fmt: skip


def run() -> Finding:
    """Each in a process of its own, which has opened a sound file before."""
    wrong, most_bytes, most_s = [], 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name, (kind, file, make) in CASES.items():
            path = Path(folder) / file
            make(path)
            command = [sys.executable, "-W", "ignore", "-c", _PROGRAM, kind, str(path)]
            done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
            path.unlink()
            if done.returncode:
                wrong.append(f"{name}: {done.stderr.strip().splitlines()[-1:]}")
                continue
            said, taken, seconds = json.loads(done.stdout.splitlines()[-1])
            most_bytes, most_s = max(most_bytes, taken), max(most_s, seconds)
            if not said or "\n" in said:
                wrong.append(f"{name}: not refused in one line: {said!r}")
            if taken > MOST_BYTES or seconds > MOST_S:
                wrong.append(f"{name}: {taken / 1e6:.0f} MB and {seconds:.1f} s")
    found = {"most memory, MB": round(most_bytes / 1e6), "longest, s": round(most_s, 2)}
    return Finding(len(CASES), found, wrong)
