"""The plans a new study tries first; the sampler takes over from there."""

from __future__ import annotations

from collections.abc import Mapping

from autoprune.plan import kept_width
from autoprune.pruning.size import model_size
from autoprune.record import TrialRecord
from autoprune.search.workbench import Workbench
from autoprune.space import parameter_names

# How strongly each part of the network is pruned, relative to the others. The overall strength is
# scaled until the plan needs no more MACs than the mildest baseline.
TILTS: tuple[Mapping[str, float], ...] = (
    {"early": 0.7, "late": 1.0, "neck": 1.0, "detect": 1.7},
    {"early": 0.3, "late": 1.3, "neck": 1.3, "detect": 1.3},
    {"early": 0.9, "late": 1.5, "neck": 1.2, "detect": 0.5},
    {"early": 1.4, "late": 0.7, "neck": 0.8, "detect": 0.9},
    {"early": 0.5, "late": 0.5, "neck": 1.0, "detect": 1.8},
    {"early": 1.0, "late": 1.0, "neck": 0.4, "detect": 1.4},
)
MAX_RATIO = 0.75
MACS_SHARE = 0.97  # MACs predict latency to a few percent only: stay on the safe side
STRENGTHS = tuple(step / 30 for step in range(2, 40))


def first_plans(bench: Workbench, baselines: list[TrialRecord]) -> list[dict[str, int]]:
    """Kept widths, by parameter, of one plan per tilt.

    A tilt needs the computation of the mildest baseline, which is known to be within the goal,
    but prunes elsewhere: more in the head, later, earlier ...
    """
    sizes = [r.size.macs for r in baselines if r.state == "complete" and r.size]
    if not sizes:
        return []
    return [_tilted(bench, tilt, round(MACS_SHARE * max(sizes))) for tilt in TILTS]


def _tilted(bench: Workbench, tilt: Mapping[str, float], macs: int) -> dict[str, int]:
    """The mildest plan of a tilt that needs no more than `macs`."""
    parts = parts_of(bench.space.widths)
    kept: dict[str, int] = {}
    for strength in STRENGTHS:
        wanted = {
            name: kept_width(width, min(MAX_RATIO, strength * tilt[parts[index]]))
            for index, reference in bench.space.widths.items()
            for name, width in zip(parameter_names(index, reference), reference, strict=True)
        }
        nearest = bench.space.nearest(wanted)
        if nearest == kept:
            continue
        kept = nearest
        if model_size(bench.pruner.prune(bench.space.plan(kept)), bench.imgsz).macs <= macs:
            break
    return kept


def parts_of(widths: Mapping[int, tuple[int, ...]]) -> dict[int, str]:
    """Layer index -> early or late backbone, neck, detect; by position, for any variant.

    The neck begins at the first layer without channels of its own (an Upsample).
    """
    last = max(widths)
    neck = min(index for index, reference in widths.items() if not reference)
    parts = {}
    for index in widths:
        if index == last:
            parts[index] = "detect"
        elif index >= neck:
            parts[index] = "neck"
        else:
            parts[index] = "early" if index < neck / 2 else "late"
    return parts
