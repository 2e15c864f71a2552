"""Claim: a thousand random extreme plans, no crash, every output finite, every width as ruled.

    python benchmarks/claims/extreme_plans.py [--plans 1000]

Plans are spread over yolov8n, yolov8s and the P2 and P6 graphs, run at 64 px. Exit status 1 when
any plan crashed, gave nan or inf, or a width other than the documented rule's.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter

import checkout  # noqa: F401
import torch
from rich.console import Console
from rich.table import Table

from autoprune.domain.plan import PruningPlan
from autoprune.evaluation.quiet import prepare_environment
from autoprune.pruning.prune import Pruner, widths_of
from benchmarks.lib.provenance import provenance, save_results

MODELS = ("yolov8n", "yolov8s", "yolov8n-p2", "yolov8n-p6")
RATIOS = (0.0, 0.001, 0.05, 0.3, 0.5, 0.75, 0.9, 0.97, 0.99, 0.999)
ROUNDING = (1, 1, 4, 8, 16)
SIDE = 64  # px; P6's last level is one pixel


def draw_plan(widths: dict[int, tuple[int, ...]], dice: random.Random) -> PruningPlan:
    """Every index gets a ratio of its own; one plan in ten takes the largest everywhere."""
    choices = RATIOS[-1:] if dice.random() < 0.1 else RATIOS
    ratios = {}
    for index, width in widths.items():
        drawn = tuple(dice.choice(choices) for _ in width)
        ratios[index] = None if not drawn else drawn[0] if len(drawn) == 1 else (drawn[0], drawn[1])
    return PruningPlan(ratios, round_to=dice.choice(ROUNDING))


def ruled(width: int, ratio: float, round_to: int) -> int:
    """The documented rule, written apart from the engine's."""
    kept = max(1, width - int(width * ratio))
    return min(width, kept + -kept % round_to)


def verdict(model: torch.nn.Module, plan: PruningPlan, images: torch.Tensor) -> str:
    """ "ok", "crashed", "not finite" or "wrong width" for one plan."""
    try:
        pruned = Pruner(model).prune(plan)
        decoded, raw = pruned(images)
    except Exception as error:  # whatever it is, it is counted
        return f"crashed: {type(error).__name__}: {error}"
    if not all(torch.isfinite(part).all() for part in (decoded, raw["boxes"], raw["scores"])):
        return "not finite"
    got = widths_of(pruned)
    for index, dense in widths_of(model).items():
        ratio = plan.prune_ratios[index]
        pair = ratio if isinstance(ratio, tuple) else (ratio or 0.0,) * len(dense)
        ruled_widths = tuple(ruled(n, r, plan.round_to) for n, r in zip(dense, pair, strict=True))
        if got[index] != ruled_widths:
            return f"wrong width: index {index}: got {got[index]}, expected {ruled_widths}"
    return "ok"


@torch.no_grad()
def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--plans", type=int, default=1000)
    arguments.add_argument("--seed", type=int, default=0)
    asked = arguments.parse_args()

    prepare_environment()
    from ultralytics.nn.tasks import DetectionModel

    torch.set_num_threads(1)
    torch.manual_seed(asked.seed)
    images = torch.rand(1, 3, SIDE, SIDE)
    table = Table("model", "plans", "ok", "crashed", "not finite", "wrong width", "seconds")
    rows, problems = [], []
    for place, name in enumerate(MODELS):
        model = DetectionModel(f"{name}.yaml", verbose=False).eval()
        widths = widths_of(model)
        seeds = range(asked.seed + place, asked.seed + asked.plans, len(MODELS))
        began, counts = time.perf_counter(), Counter[str]()
        for seed in seeds:
            plan = draw_plan(widths, random.Random(seed))
            answer = verdict(model, plan, images)
            counts[answer.split(":")[0]] += 1
            if answer != "ok":
                problems.append({"model": name, "seed": seed, "problem": answer})
        row = {key: counts[key] for key in ("ok", "crashed", "not finite", "wrong width")}
        seconds = round(time.perf_counter() - began, 1)
        rows.append({"model": name, "plans": len(seeds), **row, "seconds": seconds})
        table.add_row(*(str(value) for value in rows[-1].values()))

    made = provenance("torch", "ultralytics")
    content = {
        "claim": "extreme plans never crash",
        "plans": asked.plans,
        "seed": asked.seed,
        "imgsz_px": SIDE,
        "rows": rows,
        "problems": problems,
        **made,
    }
    console = Console()
    console.print(table)
    console.print(f"written: {save_results('extreme_plans', content).name}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
