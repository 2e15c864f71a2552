"""Samplers at work: plans scored without training, the same number for each, real evaluations."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np

from autoprune.domain.front import hypervolume
from autoprune.domain.goal import Limit
from autoprune.domain.record import TrialRecord
from autoprune.search.learn.target_space import with_target_space
from benchmarks.lib.provenance import provenance, save_results
from benchmarks.search_quality.bench import Quality, rounded
from benchmarks.search_quality.scored import scored_study

TRIALS = 40
SHOWN = (10, 20, 40)
SPEEDUP = 2.0
REFERENCE = (1.0, 0.0)  # latency and mAP50-95, both relative to the dense model
# name -> sampler, and whether the study begins with the profile's proposals, as a search does
METHODS: dict[str, tuple[str, bool]] = {
    "profile, proposals first": ("profile", True),
    "tpe, proposals first": ("tpe", True),
    "nsga2, proposals first": ("nsga2", True),
    "profile": ("profile", False),
    "tpe": ("tpe", False),
    "nsga2": ("nsga2", False),
    "random": ("random", False),
}


def compare_samplers(quality: Quality, name: str, seeds: int) -> None:
    """Run every method with every seed; what was done before is read back from its study."""
    made = provenance("optuna", "ultralytics", "onnxruntime")
    bench = with_target_space(quality.bench, quality.listener)
    curves: dict[str, list[list[dict[str, float]]]] = {method: [] for method in METHODS}
    for seed in range(seeds):
        for method, (sampler, proposed) in METHODS.items():
            where, level = f"{method}-{seed}", 1 / SPEEDUP
            records = scored_study(
                bench, quality.listener, where, sampler, level, TRIALS, proposed=proposed, seed=seed
            )
            curves[method].append(_curve(records, bench.limit, level))
            last = curves[method][-1][-1]
            print(f"{method}, seed {seed}: {last['best']:.3f} within the budget", flush=True)
            content = {"set": name, "speedup": SPEEDUP, "trials": TRIALS}
            content |= {"dense": quality.dense_scores, "rows": _rows(curves)}
            save_results(f"search_quality_samplers_{name}", content | made)


def _curve(records: list[TrialRecord], dense: Limit, level: float) -> list[dict[str, float]]:
    """After each trial: the best score within the level, and the hypervolume of all scored."""
    dense_map, dense_ms = dense.dense_map or 1.0, dense.dense_ms
    points: list[tuple[float, float]] = []
    curve = []
    for record in records:
        if record.predicted_ms is not None and record.untrained_map50_95 is not None:
            points.append((record.predicted_ms / dense_ms, record.untrained_map50_95 / dense_map))
        best = max((score for ratio, score in points if ratio <= level), default=0.0)
        curve.append({"best": best * dense_map, "hypervolume": hypervolume(points, REFERENCE)})
    return curve


def _rows(curves: dict[str, list[list[dict[str, float]]]]) -> list[dict[str, Any]]:
    """Per method, after SHOWN trials: mean, lowest and highest over seeds."""
    rows = []
    for method, runs in curves.items():
        if not runs:
            continue
        row: dict[str, Any] = {"method": method, "seeds": len(runs)}
        for shown in SHOWN:
            for key in ("best", "hypervolume"):
                values = [run[min(shown, len(run)) - 1][key] for run in runs]
                row[f"{key}_{shown}"] = {
                    "mean": rounded(statistics.fmean(values)),
                    "low": rounded(float(np.min(values))),
                    "high": rounded(float(np.max(values))),
                }
        rows.append(row)
    return rows
