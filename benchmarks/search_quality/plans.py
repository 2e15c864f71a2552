"""The pool's plans: four kinds in turn, so that any number of first ones is a fair mix."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from autoprune.domain.plan import PruningPlan
from autoprune.pruning.prune import uniform_plan
from autoprune.search.propose.solver import cheapest_plan
from autoprune.storage.yaml_io import write_atomic
from benchmarks.search_quality.bench import Quality, rounded

TURN = ("random", "solver", "uniform", "random", "disturbed", "uniform", "solver", "random")
GOLDEN = 0.6180339887498949  # any number of first terms of its multiples is spread evenly
UNIFORM_RATIOS = tuple(step / 40 for step in range(2, 33))  # 0.05 .. 0.80
STRENGTHS = (0.08, 1.0)  # of a random plan: mean share of the offered steps taken
LIMITS = (0.26, 0.97)  # of a solver plan: latency relative to dense
DISTURBANCE = 0.8  # of a parameter's costs, in the logarithm
DRAWS = 30  # of one plan, before its kind is given up for lack of new ones

Drawn = tuple[PruningPlan, dict[str, Any]]  # a plan and what it was drawn with


def pool_plans(quality: Quality, count: int) -> list[dict[str, Any]]:
    """The first `count` plans, all different, as plain data; what was drawn before is kept.

    Plan number n depends on the plans before it, the profile and the predictor alone.
    """
    path = quality.bench.folder.root / "pool_plans.json"
    with filelock.FileLock(path.with_suffix(".lock")):
        return _plans(quality, count, path)


def _plans(quality: Quality, count: int, path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    if len(rows) < count:
        print(f"Drawing {count - len(rows)} plans.", flush=True)
        seen = {tuple(row["signature"]) for row in rows}
        drawn = {kind: sum(row["draws"] for row in rows if row["origin"] == kind) for kind in TURN}
        for number in range(len(rows), count):
            rows.append(_next_plan(quality, number, seen, drawn))
        write_atomic(path, json.dumps(rows) + "\n")
    return rows[:count]


def plan_of(quality: Quality, row: dict[str, Any]) -> PruningPlan:
    """The plan of a row, annotated as the search annotates its own."""
    bench, drawn = quality.bench, row["drawn"]
    if row["origin"] == "uniform":
        plan = uniform_plan(bench.pruner.widths, drawn["ratio"], drawn["round_to"])
    else:
        plan = bench.space.plan(dict(zip(bench.space.choices, row["kept"], strict=True)))
    return bench.annotated(plan)


def kept_row(quality: Quality, plan: PruningPlan) -> list[int]:
    """Reference widths after pruning, in the order of the space's parameters."""
    return [width for widths in quality.bench.pruner.kept_widths(plan).values() for width in widths]


def _next_plan(
    quality: Quality, number: int, seen: set[tuple[int, ...]], drawn: dict[str, int]
) -> dict[str, Any]:
    """Plan `number`; a kind that repeats itself leaves its place to random plans."""
    for kind in dict.fromkeys((TURN[number % len(TURN)], "random")):
        for draw in range(drawn[kind], drawn[kind] + DRAWS):
            plan, how = KINDS[kind](quality, draw)
            signature = quality.bench.pruner.signature(plan)
            if signature in seen or plan.removes_nothing():
                continue
            seen.add(signature)
            draws, drawn[kind] = draw + 1 - drawn[kind], draw + 1
            return {
                "number": number,
                "origin": kind,
                "drawn": how,
                "draws": draws,
                "kept": kept_row(quality, plan),
                "signature": list(signature),
                "predicted_ratio": rounded(quality.predicted_ratio(plan)),
            }
    raise RuntimeError(f"no new plan in {DRAWS} draws: ask for fewer")


def _uniform(quality: Quality, draw: int) -> Drawn:
    """Ratios spread evenly, rounded to 16 and 8 channels in turn."""
    round_to = (16, 8)[draw % 2]
    position = int(_spread(draw // 2) * len(UNIFORM_RATIOS))
    ratio = UNIFORM_RATIOS[position]
    plan = uniform_plan(quality.bench.pruner.widths, ratio, round_to)
    return plan, {"ratio": ratio, "round_to": round_to}


def _random(quality: Quality, draw: int) -> Drawn:
    """Each parameter loses 0 to 2 x strength of its steps; log(strength) is spread evenly."""
    dice = np.random.default_rng([11, draw])
    low, high = np.log(STRENGTHS)
    strength = float(np.exp(low + (high - low) * _spread(draw)))
    steps = np.array([len(offered) - 1 for offered in quality.profile.choices])
    lost = np.clip(2 * strength * dice.random(len(steps)), 0, 1) * steps
    positions = steps - np.floor(lost + dice.random(len(steps))).clip(0, steps).astype(int)
    plan = quality.bench.space.plan(quality.profile.kept(positions))
    return plan, {"strength": rounded(strength)}


def _solver(quality: Quality, draw: int) -> Drawn:
    """The cheapest plan by the profile within a latency limit."""
    return _solved(quality, draw, np.ones(len(quality.profile.names)), {})


def _disturbed(quality: Quality, draw: int) -> Drawn:
    """The cheapest plan by costs that are wrong by a random factor per parameter."""
    dice = np.random.default_rng([12, draw])
    factors = np.exp(dice.normal(0, DISTURBANCE, len(quality.profile.names)))
    return _solved(quality, draw, factors, {"disturbance": DISTURBANCE})


def _solved(quality: Quality, draw: int, weights: Any, how: dict[str, Any]) -> Drawn:
    low, high = LIMITS
    limit = low + (high - low) * _spread(draw)
    positions = cheapest_plan(quality.profile, weights, limit)
    plan = quality.bench.space.plan(quality.profile.kept(positions))
    return plan, {"limit": rounded(limit), **how}


def _spread(draw: int) -> float:
    return (draw + 0.5) * GOLDEN % 1


KINDS: dict[str, Callable[[Quality, int], Drawn]] = {
    "uniform": _uniform,
    "random": _random,
    "solver": _solver,
    "disturbed": _disturbed,
}
