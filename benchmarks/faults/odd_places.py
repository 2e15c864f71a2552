"""F44: homes, caches and masks that are odd, names that are no text or 300 letters long."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoprune.demo.bundle import demo_checkpoint
from autoprune.demo.dataset import Split, write_detection_set
from benchmarks.faults.finding import Finding
from tests.forks import untouched_environment

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "from autoprune.cli.main import main; main()"
LONG = "x" * 300
# Reads everything, so that the Python may lie in a home that is closed, and writes nothing.
_READS = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")
_AS_NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *_READS)


@dataclass(frozen=True)
class Place:
    """Circumstances of one command.

    Attributes:
        works: Whether it is to work; else it ends in one line with exit code 2.
        environment: Variables to set, or to unset where None.
        umask: Of the process.
        user: Whether somebody runs it who owns nothing.
        spoil: Does something to the data set, or to the folder for results.
        command: (model, data, results) -> arguments.
    """

    works: bool = True
    environment: dict[str, str | None] = field(default_factory=dict)
    umask: int = -1
    user: bool = False
    spoil: Callable[[Path, Path], object] = lambda data, out: None
    command: Callable[[Path, Path, Path], list[str]] = lambda model, data, out: [
        "prune", str(model), "--ratio", "0.3", "-o", str(out / "small.pt"),
        "--calibration", str(data),
    ]  # fmt: skip


def _renamed(name: bytes) -> Callable[[Path, Path], object]:
    def spoil(data: Path, _: Path) -> None:
        image = min((data.parent / "images" / "train").iterdir())
        os.rename(image, os.fsencode(image.parent) + b"/" + name)

    return spoil


def _to(name: str) -> Callable[[Path, Path, Path], list[str]]:
    return lambda model, data, out: [
        "prune", str(model), "--ratio", "0.3", "-o", str(out / name),
    ]  # fmt: skip


def _search(name: str) -> Callable[[Path, Path, Path], list[str]]:
    return lambda model, data, out: [
        "search", "--speedup", "1.5", "--model", str(model), "--data", str(data), "--imgsz", "64",
        "--name", name, "--studies", str(out),
    ]  # fmt: skip


CASES = {
    "HOME is not set": Place(environment={"HOME": None}),
    "HOME cannot be written": Place(environment={"HOME": "/proc/1"}),
    "HOME is no folder": Place(environment={"HOME": "/dev/null"}),
    "the cache cannot be written": Place(environment={"XDG_CACHE_HOME": "/proc/cache"}),
    "neither can the configuration": Place(
        environment={"XDG_CONFIG_HOME": "/proc/config", "XDG_CACHE_HOME": "/proc/cache"}
    ),
    "umask 077": Place(umask=0o077),
    "umask 777 of a user who may not": Place(works=False, umask=0o777, user=True),
    "a user without a home": Place(environment={"HOME": "/nonexistent"}, user=True),
    "a locale without umlauts": Place(environment={"LC_ALL": "C", "PYTHONUTF8": "0"}),
    "an image whose name is no text": Place(spoil=_renamed(b"\xff\xfe.jpg")),
    "an image of 240 letters": Place(spoil=_renamed(b"x" * 240 + b".jpg")),
    "a result of 300 letters": Place(works=False, command=_to(f"{LONG}.pt")),
    "a study of 300 letters": Place(works=False, command=_search(LONG)),
    "a study called ..": Place(works=False, command=_search("..")),
    "TMPDIR cannot be written": Place(environment={"TMPDIR": "/proc/tmp"}),
}


def run() -> Finding:
    """Each once, by the command line."""
    wrong, worked, refused, left_out = [], 0, 0, []
    for name, place in CASES.items():
        if place.user and not _may_choose_users():
            left_out.append(name)
            continue
        with tempfile.TemporaryDirectory() as folder:
            code, said = _tried(Path(folder), place)
        worked += code == 0
        lines = said.strip().splitlines()
        in_one_line = code == 2 and len(lines) == 1
        refused += in_one_line
        if "Traceback" in said:
            wrong.append(f"{name}: a traceback: {lines[-1]}")
        elif place.works and code != 0:
            wrong.append(f"{name}: exit {code}: {lines[-1:]}")
        elif not place.works and not in_one_line:
            wrong.append(f"{name}: exit {code}, expected 2 and one line: {said[-300:]!r}")
    found: dict[str, Any] = {"worked": worked, "refused in one line": refused}
    found |= {"not tried": left_out} if left_out else {}
    return Finding(len(CASES) - len(left_out), found, wrong)


def _may_choose_users() -> bool:
    return os.getuid() == 0 and shutil.which(_AS_NOBODY[0]) is not None


def _tried(folder: Path, place: Place) -> tuple[int, str]:
    folder.chmod(0o777)
    out = folder / "out"
    out.mkdir()
    out.chmod(0o777)
    data = write_detection_set(folder / "set", {"train": Split(1, 24), "val": Split(2, 12)})
    for part in (data.parent, *data.parent.rglob("*")):
        part.chmod(0o755 if part.is_dir() else 0o644)
    place.spoil(data, out)
    environment = {**untouched_environment(), "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    environment |= {key: value for key, value in place.environment.items() if value is not None}
    for key, value in place.environment.items():
        if value is None:
            del environment[key]
    done = subprocess.run(
        [
            *(_AS_NOBODY if place.user else ()),
            sys.executable,
            "-c",
            PROGRAM,
            *place.command(demo_checkpoint(), data, out),
        ],
        cwd=out,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=600,
        stdin=subprocess.DEVNULL,
        umask=place.umask,
    )
    return done.returncode, done.stderr
