"""F13: 100 random plans, drawn, written as YAML, pruned as users do: the same channels exactly."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import torch

from autoprune import prune_detection_model
from autoprune.demo.bundle import demo_checkpoint
from autoprune.domain.plan import PruningPlan
from autoprune.evaluation.checkpoint import load_yolo
from autoprune.pruning.prune import Pruner, widths_of
from benchmarks.faults.finding import Finding

PLANS = 100


def run(plans: int = PLANS) -> Finding:
    """In the search's own engine and by the public function, on the demo's checkpoint."""
    torch.set_num_threads(1)
    wrong = []
    dense = load_yolo(demo_checkpoint()).model
    pruner = Pruner(dense)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "plan.yaml"
        for seed in range(plans):
            plan = _drawn(widths_of(dense), random.Random(seed))
            plan.save(file)
            ours = pruner.prune(plan)
            theirs = prune_detection_model(demo_checkpoint(), prune_yaml=str(file)).model
            read = PruningPlan.load(file)
            if read != plan:
                wrong.append(f"plan {seed}: another one was read")
            if widths_of(ours) != widths_of(theirs) or _count(ours) != _count(theirs):
                wrong.append(f"plan {seed}: {_count(ours)} and {_count(theirs)} parameters")
    return Finding(plans, {"the same": plans - len(wrong)}, wrong)


def _count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _drawn(widths: dict[int, tuple[int, ...]], dice: random.Random) -> PruningPlan:
    ratios = {
        index: tuple(dice.choice((0.0, dice.random() * 0.95)) for _ in width)
        for index, width in widths.items()
    }
    return PruningPlan(
        {
            index: None if not each else each[0] if len(each) == 1 else (each[0], each[1])
            for index, each in ratios.items()
        },
        round_to=dice.choice((1, 8)),
    )
