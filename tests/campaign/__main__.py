"""Run every command over every data set and checkpoint; about 30 minutes on two cores.

    python -m tests.campaign [--only TEXT] [--seconds 1800]

Of a sound file every command is to end with exit code 0 or 3 and with files that run; a broken one
is refused in one line with exit code 2. Nothing prints a traceback, and nothing that the user gave
is changed. It prints a line for each finding and ends with their number as exit code, at most 99.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from autoprune.evaluation.quiet import prepare_environment

prepare_environment()

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import torch  # noqa: E402
from ultralytics import YOLO  # noqa: E402

from autoprune.demo.bundle import demo_checkpoint  # noqa: E402
from tests.campaign import checkpoints, datasets  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "from autoprune.cli.main import main; main()"
LONGEST_S = 300.0  # of one command
OFTEN_ENOUGH = ("--trials", "1", "--timeout", "60")
TRAIN = ("epochs=1", "batch=4", "workers=0", "device=cpu")


@dataclass(frozen=True)
class Case:
    """One command over one file.

    Attributes:
        name: What is tried.
        make: Makes the file in a folder.
        sound: Whether it is to work.
        command: The file, and an empty folder for results -> arguments.
    """

    name: str
    make: Callable[[Path], Path]
    sound: bool
    command: Callable[[Path, Path], list[str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--seconds", type=float, default=1800.0)
    asked = parser.parse_args()
    ends, found, done = time.monotonic() + asked.seconds, 0, 0
    for case in (one for one in cases() if asked.only in one.name):
        if time.monotonic() > ends:
            print(f"time is over; not tried from {case.name!r} on")
            break
        done += 1
        for finding in tried(case):
            found += 1
            print(f"{case.name}: {finding}", flush=True)
    print(f"{done} cases, {found} findings")
    sys.exit(min(found, 99))


def cases() -> Iterator[Case]:
    """All of them, the quick commands first."""
    models = [(checkpoints.SOUND, True), (checkpoints.BROKEN, False)]
    for kind, sound in models:
        for name, make in kind.items():
            yield Case(f"prune, {name}", make, sound, _prune)
    for kind, sound in models:
        for name, make in kind.items():
            yield Case(f"export, {name}", make, sound, _export)
    for kind, sound in ((datasets.SOUND, True), (datasets.BROKEN, False)):
        for name, make in kind.items():
            yield Case(f"calibrate, {name}", make, sound, _calibrate)
    for kind, sound in ((datasets.SOUND, True), (datasets.BROKEN, False)):
        for name, make in kind.items():
            yield Case(f"fine-tune, {name}", make, sound or name in datasets.TRAINS, _tune)
    for name, make in datasets.SOUND.items():
        yield Case(f"search, {name}", make, True, _search)


def _prune(model: Path, out: Path) -> list[str]:
    return ["prune", str(model), "--ratio", "0.3", "-o", str(out / "small.pt")]


def _export(model: Path, out: Path) -> list[str]:
    return ["export", str(model), "-o", str(out / "model.onnx"), "--imgsz", "64"]


def _calibrate(data: Path, out: Path) -> list[str]:
    return [*_prune(demo_checkpoint(), out), "--calibration", str(data)]


def _tune(data: Path, out: Path) -> list[str]:
    simple = ("--importance", "l2_bn", "--no-compensate")
    return [*_prune(demo_checkpoint(), out), *simple, "--data", str(data), "imgsz=64", *TRAIN]


def _search(data: Path, out: Path) -> list[str]:
    goal = ("--max-drop", "30", "--imgsz", "64", *OFTEN_ENOUGH)
    return ["search", "--model", str(demo_checkpoint()), "--data", str(data), *goal,
            "--studies", str(out / "studies")]  # fmt: skip


def tried(case: Case) -> Iterator[str]:
    """Run one case; what is wrong, a sentence each."""
    with tempfile.TemporaryDirectory(prefix="campaign-") as own:
        given, out = Path(own) / "given", Path(own) / "out"
        given.mkdir()
        out.mkdir()
        arguments = case.command(case.make(given), out)
        before = _content(given)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": f"{own}/cache"}
        try:
            done = subprocess.run(
                [sys.executable, "-c", PROGRAM, *arguments],
                cwd=out,
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=LONGEST_S,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            yield f"not done after {LONGEST_S:.0f} s"
            return
        said = done.stderr.strip().splitlines()
        if "Traceback" in done.stderr + done.stdout:
            yield f"a traceback: {said[-1:]}"
        if case.sound and done.returncode not in (0, 3):
            yield f"exit {done.returncode}: {said[-1:]}"
        if not case.sound and (done.returncode != 2 or len(said) != 1):
            yield f"exit {done.returncode}, expected 2 and one line: {said[-2:]}"
        yield from _wrong_files(out, done.returncode)
        if _content(given) != before:
            yield "what was given has changed"
        for place in (given, *given.rglob("*")):  # so that it can be removed
            if place.is_dir() and not place.is_symlink():
                place.chmod(0o755)
        shutil.rmtree(given, ignore_errors=True)


def _wrong_files(out: Path, exit_code: int) -> Iterator[str]:
    """Results that do not run or say what is not finite, none at all, and what is none."""
    results = [*out.glob("*.pt"), *out.glob("*.onnx"), *out.glob("studies/*/best.*t")]
    if exit_code != 0:
        if left := [file.name for file in out.iterdir() if file.name != "studies"]:
            yield f"exit {exit_code}, and left {left}"
        return
    if not results:
        yield "exit 0, and nothing was written"
    strays = {file.name for file in out.iterdir()} - {file.name for file in results} - {"studies"}
    if strays:
        yield f"left {sorted(strays)}"
    for file in results:
        if not all(np.isfinite(part).all() for part in _answers(file)):
            yield f"{file.name} answers what is not finite"


def _answers(file: Path) -> list[np.ndarray]:
    if file.suffix == ".onnx":
        session = onnxruntime.InferenceSession(file)
        (given,) = session.get_inputs()
        return session.run(None, {given.name: np.random.rand(*given.shape).astype(np.float32)})
    model = YOLO(file).model.float().eval()
    channels = model.model[0].conv.in_channels
    with torch.no_grad():
        return [model(torch.rand(1, channels, 64, 64))[0].numpy()]


def _content(folder: Path) -> dict[str, str]:
    """Path -> hash of every file, and that it is there for everything else."""
    found = {}
    for path in sorted(folder.rglob("*")):
        plain = path.is_file() and not path.is_symlink()
        shown = hashlib.sha256(path.read_bytes()).hexdigest() if plain else "there"
        found[os.fsencode(path).hex()] = shown
    return found


if __name__ == "__main__":
    main()
