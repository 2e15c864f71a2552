"""A real search that takes a minute: the demo's network at 96 px, few plans, one epoch."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil

from autoprune.demo.bundle import demo_checkpoint
from autoprune.demo.dataset import Split, write_detection_set
from autoprune.storage.study_folder import StudyFolder
from tests.forks import untouched_environment
from tests.test_end_to_end import ARGUMENTS, PROGRAM, SPACE

TRIALS = 8
# What the command line does before it imports Ultralytics, which `PROGRAM` imports at once.
FIRST = "from autoprune.evaluation.quiet import prepare_environment; prepare_environment()\n"


def tiny_files(root: Path) -> tuple[Path, Path]:
    """The data YAML of a small set and a space of few widths, made in `root` where missing."""
    data, space = root / "tiny-set" / "data.yaml", root / "space.yaml"
    if not data.exists():
        splits = {"train": Split(7, 32), "val": Split(8, 16), "test": Split(9, 12)}
        write_detection_set(data.parent, splits)
        space.write_text(SPACE)
    return data, space


class RealSearch:
    """One study in a folder of its own, with its own home and temporary folder.

    Args:
        root: An empty folder.
        before: What the program is started by, as `unshare -n`.
    """

    def __init__(self, root: Path, before: tuple[str, ...] = ()) -> None:
        self.root, self.before = root, before
        self.data, self.space = tiny_files(root)
        for name in ("home", "tmp"):
            (root / name).mkdir()
        self.study = StudyFolder(root / "studies" / "tiny")

    def begin(self, *more: str) -> subprocess.Popen[str]:
        """Begin or continue it, by the same command."""
        model, data, space = str(demo_checkpoint()), str(self.data), str(self.space)
        files = ("--model", model, "--data", data, "--space", space)
        program = (sys.executable, "-W", "ignore", "-c", FIRST + PROGRAM, "search")
        return subprocess.Popen(
            [*self.before, *program, *files, *ARGUMENTS, "--trials", str(TRIALS), *more],
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_until_at_work(self, process: subprocess.Popen[str], most_s: float = 300.0) -> None:
        """Until all is checked and the first stage begins, or the process has ended."""
        began, until = time.time(), time.monotonic() + most_s
        while process.poll() is None and time.monotonic() < until:
            if self.study.outcome.exists() and self.study.outcome.stat().st_mtime > began:
                return
            time.sleep(0.05)

    def environment(self) -> dict[str, str]:
        """With a home and a temporary folder of its own."""
        home, tmp = str(self.root / "home"), str(self.root / "tmp")
        given = untouched_environment()
        return {**given, "HOME": home, "XDG_CACHE_HOME": f"{home}/.cache", "TMPDIR": tmp}

    def processes(self) -> list[psutil.Process]:
        """All that belong to it, by their temporary folder."""
        mine, found = str(self.root / "tmp"), []
        for process in psutil.process_iter():
            try:
                if process.environ().get("TMPDIR", "").startswith(mine):
                    found.append(process)
            except psutil.Error:
                continue
        return found
