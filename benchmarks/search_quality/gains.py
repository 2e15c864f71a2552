"""Ours less each rival, in mAP50-95, with intervals."""

from __future__ import annotations

import math
import statistics
from typing import Any

from scipy import stats

from benchmarks.search_quality.bench import LEVELS, rounded

CONFIDENCE = 0.95

Row = dict[str, Any]


def interval(values: list[float]) -> tuple[float, float] | None:
    """Mean and half-width of the t interval; None for fewer than two values."""
    if len(values) < 2:
        return None
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    half = quantile * statistics.stdev(values) / math.sqrt(len(values))
    return statistics.fmean(values), half


def gains(rows: list[Row]) -> list[Row]:
    """Ours less each rival, in mAP50-95, per level and split, with Welch's interval."""
    found = []
    for rival in rows:
        ours = next(
            (r for r in rows if (r["level"], r["method"]) == (rival["level"], "ours")), None
        )
        if ours is None or rival is ours:
            continue
        for split in ("val", "test"):
            first, second = (scores_of(row, split) for row in (ours, rival))
            if min(len(first), len(second)) < 2:
                continue
            test = stats.ttest_ind(first, second, equal_var=False)
            bounds = test.confidence_interval(CONFIDENCE)
            found.append(
                {
                    "level": rival["level"],
                    "rival": rival["method"],
                    "split": split,
                    "gain": rounded(statistics.fmean(first) - statistics.fmean(second)),
                    "low": _finite(bounds.low),
                    "high": _finite(bounds.high),
                }
            )
    return found


def mean_gains(rows: list[Row]) -> list[Row]:
    """The mean over levels of ours less each rival, by seed, with the t interval over seeds."""
    found = []
    for rival in dict.fromkeys(row["method"] for row in rows if row["method"] != "ours"):
        for split in ("val", "test"):
            by_seed = _gains_by_seed(rows, rival, split)
            whole = [statistics.fmean(levels) for levels in by_seed.values()]
            spread = interval(whole)
            if spread is not None:
                mean, half = spread
                levels = len(next(iter(by_seed.values())))
                found.append(
                    {
                        "rival": rival,
                        "split": split,
                        "levels": levels,
                        "seeds": len(whole),
                        "gain": rounded(mean),
                        "half_width": rounded(half),
                    }
                )
    return found


def _gains_by_seed(rows: list[Row], rival: str, split: str) -> dict[int, list[float]]:
    """Seed -> gains of all levels, for seeds that every level of both methods has."""
    pairs = []
    for level in LEVELS:
        both = [
            {done["seed"]: done[split] for done in row["seeds"]}
            for method in ("ours", rival)
            for row in rows
            if (row["level"], row["method"]) == (level, method) and row["seeds"]
        ]
        if len(both) == 2:
            pairs.append(both)
    if not pairs:
        return {}
    shared = set.intersection(*({*ours} & {*other} for ours, other in pairs))
    return {seed: [ours[seed] - other[seed] for ours, other in pairs] for seed in sorted(shared)}


def scores_of(row: Row, split: str) -> list[float]:
    """mAP50-95 of each seed."""
    return [done[split] for done in row["seeds"]]


def _finite(value: float) -> float | None:
    return rounded(float(value)) if math.isfinite(value) else None
