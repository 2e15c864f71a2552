"""The dense model under the table's other runtimes: one of them may need no pruning at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import nn

from autoprune.domain.record import LatencyResult
from autoprune.errors import ConfigError, TrialFailed
from autoprune.latency.exported_model import ExportedModel
from autoprune.latency.measure import RuntimeOptions, measure_dense
from autoprune.latency.runtimes import RUNTIMES
from autoprune.latency.targets import LatencyTarget
from autoprune.search.context.listener import SearchListener
from autoprune.search.feasibility.alternatives import GLANCE


@dataclass(frozen=True)
class RuntimeTime:
    """What the dense model takes under one runtime.

    Attributes:
        name: The runtime.
        precision: What it computes in.
        latency: As measured in a process of its own, not interleaved; None where it cannot be.
        missing: Why it cannot.
    """

    name: str
    precision: str
    latency: LatencyResult | None
    missing: str = ""


class RuntimeBench(Protocol):
    """What is asked of a probe."""

    @property
    def target(self) -> LatencyTarget:
        """Where latency is measured."""

    @property
    def options(self) -> RuntimeOptions:
        """The runtime that was asked for."""

    def export(
        self, module: nn.Module, folder: Path, rewritten: bool = True, runtime: str | None = None
    ) -> ExportedModel:
        """Write a runtime's file."""


def likely_here(asked: RuntimeOptions) -> int:
    """How many other runtimes there are whose files can be written on this machine."""
    found = 0
    for name in RUNTIMES.names():
        try:
            row = RUNTIMES.row(name, "--runtime")
            row.refuse_without_makers()
        except ConfigError:
            continue
        found += name != asked.runtime and not row.on_gpu
    return found


def other_runtimes(
    bench: RuntimeBench, module: nn.Module, folder: Path, listener: SearchListener
) -> tuple[RuntimeTime, ...]:
    """Time the dense model under all other runtimes that the target has, on its CPU.

    Nothing where something else than the CPU was asked for: runtimes call those differently.

    Args:
        bench: The target, and the runtime asked for.
        module: The dense model.
        folder: For the runtimes' files.
        listener: Told which one is timed.

    Raises:
        TargetUnreachable: The device does not answer.
    """
    asked = bench.options
    if asked.row.on_gpu or asked.provider not in (None, asked.row.provider):
        return ()
    found = []
    for name in RUNTIMES.names():
        if name == asked.runtime:
            continue
        listener.stage(f"latency in {name}")
        latency, precision, missing = None, "", ""
        try:
            row = RUNTIMES.row(name, "--runtime")
            if row.on_gpu:
                continue
            precision = row.precisions[0]
            options = RuntimeOptions(name, asked.imgsz, asked.threads)
            exported = bench.export(module, folder / name, runtime=name)
            latency = measure_dense(bench.target, exported, options, GLANCE)
        except (ConfigError, TrialFailed) as reason:  # not there, broken, or not for this model
            missing = " ".join(str(reason).split())
        found.append(RuntimeTime(name, precision, latency, missing))
    return tuple(found)
