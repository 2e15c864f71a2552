"""Replay samplers on the pool, and the order in which the search would fine-tune its plans.

A rival asks for any plan of the space; it is given the pool's plan nearest to that, out of those it
has not had, and told that plan's measured latency and fine-tuned mAP as if they were its own. Ours
sees no result of a fine-tune: it goes through the pool by predicted latency and the score without
training.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler

from autoprune.domain.front import hypervolume
from autoprune.search.propose.distributions import distribution_of
from autoprune.storage.yaml_io import write_atomic
from benchmarks.lib.provenance import provenance, save_results
from benchmarks.search_quality.agreement import agreement_of, half_the_macs
from benchmarks.search_quality.bench import rounded
from benchmarks.search_quality.pool import load_pool, usable

STEPS = 100  # fine-tunes given to a rival
OURS_STEPS = 16
ENOUGH = 0.95  # of the best rival's hypervolume
REFERENCE = (1.0, 0.0)  # latency and mAP50-95, both relative to the dense model
POPULATIONS = (10, 20, 40)


def _nsga2(size: int, seed: int) -> BaseSampler:
    return NSGAIISampler(population_size=size, seed=seed)


RIVALS: dict[str, Callable[[int], BaseSampler]] = {
    "random": lambda seed: RandomSampler(seed=seed),
    "tpe": lambda seed: TPESampler(seed=seed),
    **{f"nsga2-{size}": partial(_nsga2, size) for size in POPULATIONS},
}

Rows = list[dict[str, Any]]
Array = np.ndarray[Any, Any]


def replay_all(name: str, seeds: int, scratch: Path) -> None:
    """Replay every rival with `seeds` seeds; curves are kept in `scratch`, a summary in results."""
    pool = load_pool(name)
    rows = usable(pool)
    if len(rows) < 2:
        raise SystemExit(f"the pool of {name} has {len(rows)} plans: fill it first")
    made = provenance("optuna", "scipy")
    steps = min(STEPS, len(rows))
    kept = scratch / f"replay_{name}_{_digest(rows, steps)}.json"
    curves: dict[str, dict[str, list[float]]] = (
        json.loads(kept.read_text()) if kept.exists() else {}
    )
    for rival in RIVALS:
        known = curves.setdefault(rival, {})
        for seed in range(seeds):
            if str(seed) not in known:
                known[str(seed)] = replay(pool, rows, rival, seed, steps)
                kept.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(kept, json.dumps(curves))
        finished = {rival: list(known.values()) for rival, known in curves.items()}
        content = {"set": name, "pool": len(rows), "seeds": seeds, **_summary(pool, rows, finished)}
        if "trained" in pool:  # latencies are newer than scores
            content["trained"] = pool["trained"]
        save_results(f"search_quality_replay_{name}", content | made)
        print(f"{rival}: {finished[rival][0][-1]:.4f} and the like after {steps}", flush=True)


def replay(pool: dict[str, Any], rows: Rows, rival: str, seed: int, steps: int) -> list[float]:
    """Hypervolume after each of `steps` fine-tunes."""
    points = [_point(row, pool) for row in replayed_rows(pool, rows, rival, seed, steps)]
    return [hypervolume(points[: step + 1], REFERENCE) for step in range(steps)]


def replayed_rows(pool: dict[str, Any], rows: Rows, rival: str, seed: int, steps: int) -> Rows:
    """The plans a rival is given, in its order."""
    offered = {name: tuple(map(int, text.split())) for name, text in pool["choices"].items()}
    dense = np.array([widths[-1] for widths in offered.values()])
    widths = np.array([[int(width) for width in row["kept"].split()] for row in rows]) / dense
    open_names = [name for name, choice in offered.items() if len(choice) > 1]
    space = {name: distribution_of(offered[name]) for name in open_names}
    columns = [list(offered).index(name) for name in open_names]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        sampler = RIVALS[rival](seed)
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=sampler)
    left = list(range(len(rows)))
    given: Rows = []
    for _ in range(steps):
        trial = study.ask(space)
        wanted = np.array([trial.params[name] for name in open_names]) / dense[columns]
        away = ((widths[left][:, columns] - wanted) ** 2).sum(axis=1)
        given.append(rows[left.pop(int(away.argmin()))])
        study.tell(trial, _point(given[-1], pool))
    return given


def ours_in_order(rows: Rows) -> Iterator[dict[str, Any]]:
    """The pool as the search would take it: front after front, each spread over latency.

    Fronts are of predicted latency and untrained mAP. Within one, the plan farthest in predicted
    latency from all taken before, and from the dense model, is next.
    """
    left = list(rows)
    taken = [1.0]
    while left:
        front = [row for row in left if not any(_beats(other, row) for other in left)]
        left = [row for row in left if row not in front]
        while front:
            gaps = [min(abs(row["predicted_ratio"] - at) for at in taken) for row in front]
            row = front.pop(int(np.argmax(gaps)))
            taken.append(row["predicted_ratio"])
            yield row


def _summary(
    pool: dict[str, Any], rows: Rows, curves: dict[str, list[list[float]]]
) -> dict[str, Any]:
    """Everything the tables and the plot show."""
    points = [_point(row, pool) for row in rows]
    ours: list[float] = []
    ordered = [_point(row, pool) for row in ours_in_order(rows)]
    for step in range(min(STEPS, len(rows))):
        ours.append(hypervolume(ordered[: step + 1], REFERENCE))
    uniform = [_point(row, pool) for row in rows if row["origin"] == "uniform"]
    methods = [_band_of(rival, np.array(known)) for rival, known in curves.items() if known]
    best = max(methods, key=lambda method: method["mean"][-1])
    goal = ENOUGH * best["mean"][-1]
    for method in methods:
        method["to_goal"] = _first_at(method["mean"], goal)
    populations = [method for method in methods if method["method"].startswith("nsga2")]
    tuned = max(populations, key=lambda method: method["mean"][-1], default=None)
    return {
        "dense": pool["dense"],
        "reference": list(REFERENCE),
        "steps": min(STEPS, len(rows)),
        "whole_pool": rounded(hypervolume(points, REFERENCE)),
        "uniform": {
            "plans": len(uniform),
            "hypervolume": rounded(hypervolume(uniform, REFERENCE)),
        },
        "methods": methods,
        "tuned_nsga2": tuned["method"] if tuned else None,
        "best_rival": best["method"],
        "enough": ENOUGH,
        "goal": rounded(goal),
        "ours": {
            "curve": [rounded(value) for value in ours],
            "steps": min(OURS_STEPS, len(ours)),
            "share": rounded(ours[min(OURS_STEPS, len(ours)) - 1] / best["mean"][-1]),
            "to_goal": _first_at(ours, goal),
        },
        "agreement": agreement_of(rows),
        "half_macs": half_the_macs(
            rows, pool["dense"]["macs"], [int(width) for width in pool["groups"].split()]
        ),
    }


def _band_of(rival: str, curves: Array) -> dict[str, Any]:
    """Mean and 10-90 % band over seeds at each step."""
    low, high = np.quantile(curves, (0.1, 0.9), axis=0)
    shown = {"mean": curves.mean(axis=0), "p10": low, "p90": high}
    lists = {key: [rounded(float(value)) for value in values] for key, values in shown.items()}
    return {"method": rival, "seeds": len(curves), **lists}


def _first_at(curve: list[float], goal: float) -> int | None:
    """Number of fine-tunes after which the curve has reached the goal; None if it never does."""
    return next((step for step, value in enumerate(curve, 1) if value >= goal), None)


def _point(row: dict[str, Any], pool: dict[str, Any]) -> tuple[float, float]:
    """Measured latency and fine-tuned val mAP50-95, relative to dense."""
    return row["ratio"], row["val"] / pool["dense"]["val"]


def _beats(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether a plan is predicted as fast and scores as well without training, and one better."""
    faster = second["predicted_ratio"] - first["predicted_ratio"]
    better = (first["untrained"] or 0.0) - (second["untrained"] or 0.0)
    return faster >= 0 and better >= 0 and faster + better > 0


def _digest(rows: Rows, steps: int) -> str:
    """Names the pool that curves belong to."""
    values = [(row["number"], row["signature"], row["ratio"], row["val"]) for row in rows]
    return hashlib.sha256(repr((values, steps)).encode()).hexdigest()[:12]
