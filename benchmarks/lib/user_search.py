"""One search as a user would run it: in a process of its own, from its start to its exit."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.claims.first_run import PROGRAM, ROOT, fresh
from benchmarks.lib.first_run import read_run


def search_share(
    dense: Path, data: Path, share: float, seed: int, timeout_s: float, studies: Path
) -> dict[str, Any]:
    """Search for a share of a model's latency.

    Args:
        dense: The .pt.
        data: The data YAML.
        share: Of the dense model's latency.
        seed: Of the sampler.
        timeout_s: The search's own limit.
        studies: Folder to make for its study and log.txt; another name is taken if it is there.
    """
    folder = fresh(studies)
    return _run(folder, dense, data, share, seed, ["--timeout", f"{timeout_s}"])


def with_uniform(
    dense: Path, data: Path, share: float, seed: int, timeout_s: float, studies: Path
) -> dict[str, Any] | None:
    """Continue a search without further trials: what is left is to train its uniform baseline.

    Args:
        timeout_s: Of the continuation.
        studies: The folder that `search_share` was given.

    Returns:
        The best uniform plan within the limit, as `read_run` tells of it.
    """
    more = ["--timeout", f"{timeout_s}", "--trials", "1"]
    uniform: dict[str, Any] | None = _run(studies, dense, data, share, seed, more)["uniform"]
    return uniform


def _run(
    folder: Path, dense: Path, data: Path, share: float, seed: int, more: list[str]
) -> dict[str, Any]:
    began, began_s = datetime.now(timezone.utc), time.monotonic()
    arguments = ["--speedup", f"{1 / share:.4f}", "--seed", f"{seed}", *more]
    files = ["--model", str(dense.resolve()), "--data", str(data.resolve())]
    with (folder / "log.txt").open("ab") as log:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "search", *files, *arguments, "--studies", str(folder)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    wall_s = round(time.monotonic() - began_s, 1)
    row = {"share": share, "seed": seed, "exit_code": done.returncode, "wall_s": wall_s}
    return row | read_run(folder, began)
