"""FakeTarget: a target of invented, repeatable times, for tests that need no runtime."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autoprune.latency.runner import RUNNER_VERSION


def by_file_size(path: Path) -> float:
    """1 ms per MB: a stand-in for a model's time."""
    return path.stat().st_size / 1e6 + 1e-3


class FakeTarget:
    """Answers like the runner; the times follow from the model files alone.

    Example:
        >>> target = FakeTarget(lambda path: 5.0 if path.name == "dense.onnx" else 3.0)
    """

    def __init__(
        self,
        time_ms: Callable[[Path], float] = by_file_size,
        noise: float = 0.01,
        blocks: int = 24,
        overrides: dict[str, Any] | None = None,
    ) -> None:
        """Choose the times.

        Args:
            time_ms: Model file -> time of one run in ms.
            noise: Relative spread of single runs; the same file gives the same noise.
            blocks: Blocks per model, of 5 runs each.
            overrides: Fields of the answer to replace, e.g. {"cpu": "another"}.
        """
        self.time_ms = time_ms
        self.noise = noise
        self.blocks = blocks
        self.overrides = overrides or {}
        self.jobs: list[dict[str, Any]] = []

    def run(self, job: dict[str, Any], files: Sequence[Path], timeout_s: float) -> dict[str, Any]:
        """See `LatencyTarget.run`."""
        self.jobs.append(job)
        paths = [Path(path) for path in (job["dense"], *job["candidates"])]
        state = {"load_1min": 0.0, "temperature_c": None, "frequency_mhz": None}
        timed = paths if job["timing"] is not None else []
        burden_ms = 1e3 * (job["timing"] or {}).get("burden_s", 0.0)
        check = {"max_abs_diff": 0.0, "max_rel_diff": 0.0, "spread_diff": 0.0, "problem": None}
        return {
            "runner_version": RUNNER_VERSION,
            "runtime": job["runtime"],
            "runtime_version": "0.0",
            "provider": job["provider"],
            "providers": [job["provider"]],
            "layout": "channels_last" if job.get("channels_last") else "contiguous",
            "precision": job.get("precision", "fp32"),
            "threads": job["threads"],
            "imgsz": job["imgsz"],
            "batch": job["batch"],
            "cpu": "fake",
            "isa": "fake",
            "system": "fake",
            "python": "0.0",
            "models": [
                {"wall_ms": self._blocks(path, burden_ms if place else 0.0), "cpu_ms": None}
                for place, path in enumerate(timed)
            ],
            "stopped": "tight" if timed else "untimed",
            "checks": [check] * len(job["checks"]),
            "before": state,
            "after": state,
            **self.overrides,
        }

    def _blocks(self, path: Path, burden_ms: float) -> list[list[float]]:
        seed = int.from_bytes(hashlib.sha256(path.read_bytes()).digest()[:8], "big")
        spread = np.abs(np.random.default_rng(seed).normal(0, self.noise, (self.blocks, 5)))
        times: list[list[float]] = (self.time_ms(path) * (1 + spread) + burden_ms).tolist()
        return times
