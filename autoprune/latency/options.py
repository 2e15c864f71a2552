"""What a latency depends on (RuntimeOptions) and how long to measure it (TimingSettings)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoprune.domain.config import PROVIDER_EXPECTED, is_provider_name
from autoprune.errors import ConfigError
from autoprune.latency.runtimes import RUNTIMES, Runtime, with_layouts

BATCH = 1

_SLOWER = 2.0  # than expected, before a measurement is given up

LOCK_WAIT_S = 900.0
"""Measurements take seconds; one that holds the machine this long is stuck."""


@dataclass(frozen=True)
class RuntimeOptions:
    """What runs the model: part of the fingerprint.

    Attributes:
        runtime: A name in the table of runtimes.
        imgsz: Height and width in pixels.
        provider: What the runtime runs on, as it calls it; None for the CPU.
        channels_last: Memory layout, where the runtime lets it be chosen.
        precision: What it computes in, one of its row's; None for the first of them.

    Raises:
        ConfigError: An unknown runtime, threads below 1, a provider that cannot be meant,
            channels_last with a runtime that chooses layouts itself, or a precision that it lacks.
    """

    runtime: str
    imgsz: tuple[int, int]
    threads: int = 1
    provider: str | None = None
    channels_last: bool = False
    precision: str | None = None

    def __post_init__(self) -> None:
        row = RUNTIMES.row(self.runtime, "--runtime")
        row.refuse_precision(self.precision)
        if self.threads < 1:
            raise ConfigError.of("latency", "threads", self.threads, "a whole number from 1")
        if self.provider is not None and not is_provider_name(self.provider):
            raise ConfigError.of("latency", "provider", self.provider, PROVIDER_EXPECTED)
        if self.channels_last and not row.channels_last:
            raise ConfigError.of("--channels-last", "", True, f"--runtime {with_layouts()} with it")

    @property
    def row(self) -> Runtime:
        """The runtime's row."""
        return RUNTIMES.row(self.runtime, "--runtime")

    @property
    def computes_in(self) -> str:
        """The precision, whether it was asked for or not."""
        return self.precision or self.row.precisions[0]

    @property
    def tolerance(self) -> float:
        """How far an output may be from torch's in float32 on a CPU; see `Runtime.tolerance`."""
        row, elsewhere = self.row, self.provider not in (None, self.row.provider)
        return row.tolerance_in(self.computes_in, on_gpu=elsewhere or row.on_gpu)

    @property
    def files(self) -> tuple[Path, ...]:
        """What the target needs besides the models: the runtime's loader, if it has its own."""
        return () if self.row.loader is None else (self.row.loader,)

    def as_job(self) -> dict[str, Any]:
        """The runner's fields."""
        return {
            "runtime": self.runtime,
            "packages": list(self.row.packages),
            "loader": None if self.row.loader is None else str(self.row.loader),
            "provider": self.provider or self.row.provider,
            "threads": self.threads,
            "imgsz": list(self.imgsz),
            "batch": BATCH,
            "channels_last": self.channels_last,
            "precision": self.computes_in,
        }


@dataclass(frozen=True)
class TimingSettings:
    """How long to measure; all that ends in `_s` is seconds.

    Attributes:
        block_s: Length of one block of runs of one model.
        min_s: Shortest measurement, not counting warm-up.
        cap_s: Longest measurement, warm-up included; slow models take as long as `least_blocks`.
        least_blocks: Blocks of each model timed in any case: fewer say nothing.
        half_width: Measuring stops when the 95 % interval is within +- this fraction.
        steady_half_width: Wider than this at the end, a result is marked unsteady.
        dense_s: Shortest calibration of the dense model alone.
        load_s: Time allowed, beyond `cap_s`, for starting the process and loading models.
        run_s: How long one run may take, for the time limit alone.
        burden_s: Busy time added to every run of a candidate, to test the measurement itself.
    """

    warmup_s: float = 0.2
    block_s: float = 0.03
    min_blocks: int = 20
    max_blocks: int = 400
    min_s: float = 1.0
    cap_s: float = 10.0
    half_width: float = 0.01
    steady_half_width: float = 0.02
    dense_s: float = 4.0
    load_s: float = 60.0
    least_blocks: int = 10
    run_s: float = 5.0
    burden_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("block_s", "cap_s", "half_width", "steady_half_width", "load_s", "run_s"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ConfigError.of("latency", name, value, "a positive number")
        if not 0 <= self.burden_s < 10:
            raise ConfigError.of("latency", "burden_s", self.burden_s, "0 to 10 seconds")
        if not 2 <= self.least_blocks <= 2000:
            raise ConfigError.of("latency", "least_blocks", self.least_blocks, "2 to 2000")
        if not 2 <= self.min_blocks <= self.max_blocks <= 2000:
            shown = (self.min_blocks, self.max_blocks)
            raise ConfigError.of("latency", "min_blocks, max_blocks", shown, "2 <= min <= max")

    def for_dense(self) -> TimingSettings:
        """Longer and tighter: every result of the study is a multiple of the dense time."""
        return replace(
            self,
            min_s=max(self.min_s, self.dense_s),
            cap_s=max(self.cap_s, 2 * self.dense_s),
            half_width=self.half_width / 2,
        )

    def limit_s(self, models: int) -> float:
        """Seconds after which a measurement of so many models is given up."""
        slow_s = _SLOWER * self.run_s * self.least_blocks * models
        return self.load_s + max(self.cap_s, slow_s)

    def as_job(self) -> dict[str, Any]:
        """The runner's `timing`."""
        names = ("warmup_s", "block_s", "min_blocks", "max_blocks", "min_s", "cap_s", "half_width")
        return {name: getattr(self, name) for name in (*names, "least_blocks", "burden_s")}
