"""The first contact with the target: does it answer, and can it run what was asked for?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import nn

from autoprune.domain.record import Fingerprint, TrialRecord
from autoprune.errors import StorageFailed
from autoprune.latency.export import export_model
from autoprune.latency.measure import (
    Greeting,
    RuntimeOptions,
    check_loads,
    refuse_other_fingerprint,
)
from autoprune.latency.targets import LatencyTarget
from autoprune.storage.scratch import scratch_folder

MIN_FREE_BYTES = 200_000_000  # models of one process, and their copies
_SMALL = (32, 32)  # pixels


def greet(
    target: LatencyTarget, options: RuntimeOptions, say: Callable[[str], None] = lambda _: None
) -> Greeting:
    """Load a network of one layer on the target, with the runtime and the provider asked for.

    Args:
        target: Where.
        options: With what.
        say: Told what will make latencies there hard to rely on.

    Returns:
        What the target is, and what latencies measured there will depend on.

    Raises:
        ConfigError: The target lacks the runtime or the provider, or falls back to another.
        StorageFailed: Its disk is nearly full.
        TrialFailed, TargetUnreachable: As `LatencyTarget.run`.
    """
    small = replace(options, imgsz=_SMALL)
    with scratch_folder("greet") as folder:
        path = Path(folder) / f"model{options.row.suffix}"
        model = export_model(nn.Conv2d(3, 1, 1), path, small.imgsz, small.runtime)
        found = check_loads(target, model, small)
    if found.free_bytes is not None and found.free_bytes < MIN_FREE_BYTES:
        free, needed = (f"{count / 1e6:.0f} MB" for count in (found.free_bytes, MIN_FREE_BYTES))
        raise StorageFailed(f"the target: only {free} of disk are free, {needed} needed")
    if found.cores is not None and options.threads > found.cores:
        cores = f"{found.cores} core{'' if found.cores == 1 else 's'}"
        say(f"Note: {options.threads} threads will share {cores} of the target.")
    if not options.row.tried:
        say(f"Note: --runtime {options.runtime} was written without such a device: not tried.")
    if options.row.quantize is not None and not found.int8:
        say(
            "Note: the target's CPU has none of avx512_vnni, avx_vnni and asimddp, by which INT8"
            " gains most; it is measured all the same."
        )
    return replace(found, fingerprint=found.fingerprint.model_copy(update={"imgsz": options.imgsz}))


def refuse_other_place(dense: TrialRecord | None, here: Fingerprint) -> None:
    """Refuse to continue a study whose dense model was measured on another machine or runtime.

    Args:
        dense: Its record; None in a new study.
        here: What `greet` found.

    Raises:
        StudyMismatch: Names what differs.
    """
    if dense is not None and dense.latency is not None:
        refuse_other_fingerprint(dense.latency.fingerprint, here)
