"""The plans a new study tries first; the sampler takes over from there."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import linear_regression

from autoprune.plan import kept_width
from autoprune.pruning.size import model_size
from autoprune.record import TrialRecord
from autoprune.search.baselines import scan_file
from autoprune.search.workbench import Workbench
from autoprune.space import parameter_names
from autoprune.yaml_io import load_yaml

# How strongly each part of the network is pruned, relative to the others. The overall strength is
# scaled until the plan needs no more MACs than the mildest baseline.
TILTS: tuple[Mapping[str, float], ...] = (
    {"early": 0.3, "late": 1.3, "neck": 1.3, "detect": 1.3},
    {"early": 0.3, "late": 0.9, "neck": 1.2, "detect": 1.8},
    {"early": 0.7, "late": 1.0, "neck": 1.0, "detect": 1.7},
    {"early": 0.5, "late": 1.6, "neck": 1.4, "detect": 0.9},
    {"early": 0.9, "late": 1.5, "neck": 1.2, "detect": 0.5},
    {"early": 1.4, "late": 0.7, "neck": 0.8, "detect": 0.9},
)
MAX_RATIO = 0.75
MACS_SHARE = 0.97  # MACs predict latency to a few percent only: stay on the safe side
STRENGTHS = tuple(step / 30 for step in range(2, 40))


def first_plans(bench: Workbench, baselines: list[TrialRecord]) -> list[dict[str, int]]:
    """Kept widths, by parameter, of one plan per tilt.

    Each costs what the goal allows, going by a line through the uniform plans that were timed;
    without a latency goal, what the mildest baseline costs.
    """
    sizes = [r.size.macs for r in baselines if r.state == "complete" and r.size]
    if not sizes:
        return []
    assert bench.dense_latency is not None
    budget_ms = bench.config.goal.budget_ms(bench.dense_latency.median_ms)
    macs = float(max(sizes))
    if budget_ms is not None:
        macs = macs_within(budget_ms, _timed(bench)) or float(min(sizes))
    return [_tilted(bench, tilt, round(MACS_SHARE * macs)) for tilt in TILTS]


def macs_within(limit_ms: float, timed: list[tuple[float, float]]) -> float:
    """MACs that take `limit_ms`, by a least-squares line through (MACs, ms); 0 if there is none."""
    costs, times_ms = zip(*timed, strict=True)
    if len(set(costs)) < 2:
        return 0.0
    slope, constant = linear_regression(costs, times_ms)
    return float((limit_ms - constant) / slope) if slope > 0 else 0.0


def _timed(bench: Workbench) -> list[tuple[float, float]]:
    """(MACs, ms) of the dense model and of the best-aligned uniform plans that were timed."""
    assert bench.dense_latency is not None
    measured = load_yaml(scan_file(bench))["measured"]
    block = max(point["block"] for point in measured)
    points = [(point["macs"], point["ms"]) for point in measured if point["block"] == block]
    dense_macs = model_size(bench.pruner.model, bench.imgsz).macs
    return [(dense_macs, bench.dense_latency.median_ms), *points]


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
