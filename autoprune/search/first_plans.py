"""The plans a new study tries first; the sampler takes over from there."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from statistics import linear_regression

from autoprune.plan import as_pair, kept_width
from autoprune.pruning.size import model_size
from autoprune.record import TrialRecord
from autoprune.search.baselines import scan_file
from autoprune.search.workbench import Workbench
from autoprune.space import parameter_names
from autoprune.yaml_io import load_yaml

PARTS = ("early", "late", "neck", "detect")
FIRST_PLANS = 6
MACS_SHARE = 0.99  # MACs predict latency to a few percent only


def first_plans(bench: Workbench, baselines: list[TrialRecord]) -> list[dict[str, int]]:
    """Mixes of the two baselines: some parts of the network as mild as one, the rest as the other.

    Where the baselines bracket the budget, a mix falls between them. Those that use most of the
    computation allowed come first; what is allowed follows from a line through the uniform plans
    that were timed.

    Returns:
        Kept widths by parameter name, at most FIRST_PLANS of them.
    """
    finished = [record for record in baselines if record.state == "complete" and record.size]
    if len(finished) < 2:
        return []
    strong, mild = sorted(finished, key=lambda r: r.size.macs if r.size else 0)[:2]
    limit = _allowed_macs(bench)
    parts = parts_of(bench.space.widths)
    mixes: list[tuple[int, dict[str, int]]] = []
    for count in range(1, len(PARTS)):
        for pruned_more in combinations(PARTS, count):
            kept = bench.space.nearest(
                {
                    name: (strong_width if parts[index] in pruned_more else mild_width)
                    for (name, index, mild_width), (_, _, strong_width) in zip(
                        _widths(bench, mild), _widths(bench, strong), strict=True
                    )
                }
            )
            macs = model_size(bench.pruner.prune(bench.space.plan(kept)), bench.imgsz).macs
            if (limit is None or macs <= limit) and all(kept != other for _, other in mixes):
                mixes.append((macs, kept))
    mixes.sort(key=lambda mix: -mix[0])
    return [kept for _, kept in mixes[:FIRST_PLANS]]


def macs_within(limit_ms: float, timed: list[tuple[float, float]]) -> float | None:
    """MACs that take `limit_ms`, by a least-squares line through (MACs, ms); None without one."""
    costs, times_ms = zip(*timed, strict=True)
    if len(set(costs)) < 2:
        return None
    slope, constant = linear_regression(costs, times_ms)
    return (limit_ms - constant) / slope if slope > 0 else None


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


def _allowed_macs(bench: Workbench) -> float | None:
    assert bench.dense_latency is not None
    budget_ms = bench.config.goal.budget_ms(bench.dense_latency.median_ms)
    if budget_ms is None:
        return None
    measured = load_yaml(scan_file(bench))["measured"]
    block = max(point["block"] for point in measured)
    timed = [(point["macs"], point["ms"]) for point in measured if point["block"] == block]
    dense_macs = model_size(bench.pruner.model, bench.imgsz).macs
    allowed = macs_within(budget_ms, [(dense_macs, bench.dense_latency.median_ms), *timed])
    return None if allowed is None else MACS_SHARE * allowed


def _widths(bench: Workbench, record: TrialRecord) -> list[tuple[str, int, int]]:
    """(parameter name, layer index, kept width) of a record's plan."""
    plan = record.pruning_plan()
    return [
        (name, index, kept_width(width, ratio, plan.round_to))
        for index, reference in bench.space.widths.items()
        for name, width, ratio in zip(
            parameter_names(index, reference),
            reference,
            as_pair(plan.prune_ratios[index]),
            strict=True,
        )
    ]
