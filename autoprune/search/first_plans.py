"""The plans a new study tries first; the sampler takes over from there."""

from __future__ import annotations

from collections.abc import Mapping

from autoprune.plan import as_pair, kept_width
from autoprune.pruning.size import model_size
from autoprune.record import TrialRecord
from autoprune.search.workbench import Workbench
from autoprune.space import parameter_names

# How strongly each part of the network is pruned, relative to the others. The overall strength is
# scaled until the plan needs no more MACs than the mildest baseline.
TILTS: tuple[Mapping[str, float], ...] = (
    {"early": 0.6, "late": 0.8, "neck": 0.8, "detect": 1.8},
    {"early": 0.5, "late": 1.6, "neck": 1.1, "detect": 1.2},
    {"early": 1.2, "late": 1.2, "neck": 1.2, "detect": 0.3},
    {"early": 1.6, "late": 0.6, "neck": 0.9, "detect": 0.9},
)
MAX_RATIO = 0.75
STRENGTHS = tuple(step / 30 for step in range(2, 40))


def first_plans(bench: Workbench, baselines: list[TrialRecord]) -> list[dict[str, int]]:
    """Kept widths, by parameter, of the baselines moved onto the space's grid, then of tilts.

    A tilt prunes the same amount of computation elsewhere: more in the head, later, or earlier.
    """
    finished = [record for record in baselines if record.state == "complete" and record.size]
    plans = [_on_grid(bench, record) for record in finished]
    if finished:
        size = max((record.size for record in finished if record.size), key=lambda s: s.macs)
        plans += [_tilted(bench, tilt, size.macs) for tilt in TILTS]
    return plans


def _on_grid(bench: Workbench, record: TrialRecord) -> dict[str, int]:
    plan = record.pruning_plan()
    kept = {
        name: kept_width(width, ratio, plan.round_to)
        for index, reference in bench.space.widths.items()
        for name, width, ratio in zip(
            parameter_names(index, reference),
            reference,
            as_pair(plan.prune_ratios[index]),
            strict=True,
        )
    }
    return bench.space.nearest(kept)


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
