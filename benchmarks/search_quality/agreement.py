"""From the pool alone: does the score without training rank plans, and what do fewer MACs buy?"""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from autoprune.domain.agreement import LATENCY_BAND
from benchmarks.search_quality.bench import LEVELS, rounded

RESAMPLES = 1000  # of the pool, for the interval of a correlation
FEWEST_IN_BAND = 6  # plans below which a band's correlation says nothing
HALF = (0.45, 0.55)  # share of the dense MACs that counts as half
RANKERS = {"untrained": "untrained mAP50-95", "params": "params", "macs": "MACs"}

Rows = list[dict[str, Any]]


def agreement_of(rows: Rows) -> dict[str, Any]:
    """Spearman of each ranker with the fine-tuned val score, overall and at equal latency."""
    found: dict[str, Any] = {
        "plans": len(rows),
        "band": LATENCY_BAND,
        "rankers": [
            {
                "ranker": shown,
                "overall": rounded(_spearman(rows, key)),
                "interval": _interval(rows, key),
                "in_bands": rounded(_in_bands(rows, key)),
            }
            for key, shown in RANKERS.items()
        ],
        "bands": [
            {
                "level": level,
                "plans": len(band := _band(rows, level)),
                **{key: rounded(_spearman(band, key)) for key in RANKERS},
            }
            for level in LEVELS
        ],
        "by_origin": [
            {
                "origin": origin,
                "plans": len(part := [row for row in rows if row["origin"] == origin]),
                **{key: rounded(_spearman(part, key)) for key in RANKERS},
            }
            for origin in dict.fromkeys(row["origin"] for row in rows)
        ],
        "val_with_test": rounded(_spearman(rows, "test")),
        "val_with_test_in_bands": rounded(_in_bands(rows, "test")),
        "predicted_latency": {
            "spearman": rounded(
                _rank_correlation([(r["predicted_ratio"], r["ratio"]) for r in rows])
            ),
            "median_error": rounded(
                statistics.median(abs(r["predicted_ratio"] / r["ratio"] - 1) for r in rows)
            ),
        },
    }
    return found


def half_the_macs(rows: Rows, dense_macs: int, groups: list[int]) -> list[dict[str, Any]]:
    """Speed-ups of plans with about half the MACs, by the block their widths are multiples of."""
    half = [row for row in rows if HALF[0] <= row["macs"] / dense_macs <= HALF[1]]
    table = []
    for block in (16, 8):
        for origin in ("all", *dict.fromkeys(row["origin"] for row in rows)):
            speedups = [
                1 / row["ratio"]
                for row in half
                if origin in ("all", row["origin"]) and _aligned(row, groups, block)
            ]
            if speedups:
                low, high = np.quantile(speedups, (0.1, 0.9))
                table.append(
                    {
                        "block": block,
                        "origin": origin,
                        "plans": len(speedups),
                        "median": rounded(statistics.median(speedups), 3),
                        "p10": rounded(float(low), 3),
                        "p90": rounded(float(high), 3),
                    }
                )
    return table


def _aligned(row: dict[str, Any], groups: list[int], block: int) -> bool:
    """Whether every group keeps a multiple of `block` channels, or all of them."""
    kept = (int(width) for width in row["signature"].split())
    return all(
        width % block == 0 or width == dense for width, dense in zip(kept, groups, strict=True)
    )


def _band(rows: Rows, level: float) -> Rows:
    return [row for row in rows if abs(row["ratio"] / level - 1) <= LATENCY_BAND]


def _in_bands(rows: Rows, key: str) -> float | None:
    """Mean over all plans of the correlation among those alike in latency."""
    found = [_spearman(_band(rows, row["ratio"]), key) for row in rows]
    known = [value for value in found if value is not None]
    return statistics.fmean(known) if known else None


def _spearman(rows: Rows, key: str) -> float | None:
    if len(rows) < FEWEST_IN_BAND:
        return None
    return _rank_correlation([(row[key] or 0.0, row["val"]) for row in rows])


def _rank_correlation(pairs: list[tuple[float, float]]) -> float | None:
    first, second = zip(*pairs, strict=True)
    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return float(spearmanr(first, second).statistic)


def _interval(rows: Rows, key: str) -> list[float | None] | None:
    """95 % bootstrap interval of the overall correlation."""
    if len(rows) < FEWEST_IN_BAND:
        return None
    dice = np.random.default_rng(0)
    found = []
    for _ in range(RESAMPLES):
        drawn = [rows[at] for at in dice.integers(0, len(rows), len(rows))]
        value = _spearman(drawn, key)
        if value is not None:
            found.append(value)
    return [rounded(float(value)) for value in np.quantile(found, (0.025, 0.975))]
