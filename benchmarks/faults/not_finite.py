"""F15: nan or infinity in a weight or a statistic, 100 times: failed as nan, never on the front."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autoprune.demo.bundle import demo_checkpoint
from autoprune.demo.dataset import Split, write_detection_set
from autoprune.domain.front import pareto_front
from autoprune.evaluation.checkpoint import load_yolo
from autoprune.evaluation.dataset import inspect_data
from autoprune.search.context.listener import SearchListener
from autoprune.search.evaluate.candidate import Candidate, evaluate_untrained
from benchmarks.faults.finding import Finding
from tests.search.fakes import fake_bench, latency

TIMES = 100
VALUES = (float("nan"), float("inf"), float("-inf"))
SIDE = 64  # px


def run(times: int = TIMES) -> Finding:
    """The real evaluation and the real validation of the demo's network, one value spoiled."""
    torch.set_num_threads(1)
    dense, found, wrong = load_yolo(demo_checkpoint()).model.float(), Counter[str](), []
    with tempfile.TemporaryDirectory() as folder:
        bench = _bench(Path(folder))
        plan = bench.space.plan({name: widths[0] for name, widths in bench.space.choices.items()})
        for number in range(times):
            dice = random.Random(number)
            model = load_yolo(demo_checkpoint()).model.float()
            model.load_state_dict(dense.state_dict())
            where = _spoil(model, dice)
            bench.pruner.prune = lambda *_, model=model: model
            candidate = Candidate("trial", f"trial {number}", number, plan)
            made = evaluate_untrained(bench, candidate, SearchListener())
            found[made.failure.reason if made.failure else "a score"] += 1
            if made.failure is None:
                wrong.append(f"{where}: scored {made.untrained_map50_95}")
            trained = made.model_copy(update={"latency": latency(0.1)})
            if pareto_front([trained]):
                wrong.append(f"{where}: on the front")
    return Finding(times, dict(found), wrong)


def _spoil(model: nn.Module, dice: random.Random) -> str:
    """Spoil one number that the output depends on; where it is."""
    places = [
        (name, values)
        for name, values in model.state_dict().items()
        if values.is_floating_point() and values.numel() > 1
    ]
    name, values = dice.choice(places)
    value = dice.choice(VALUES)
    values.view(-1)[dice.randrange(values.numel())] = value
    return f"{value} in {name}"


def _bench(root: Path) -> Any:
    data = write_detection_set(root / "set", {"train": Split(1, 4), "val": Split(2, 4)})
    bench = fake_bench(root / "study")
    bench.data, bench.device, bench.imgsz = inspect_data(data), "cpu", (SIDE, SIDE)
    bench.train_size, bench.recalibration_images = SIDE, ()
    bench.pruner.compensated = True
    bench.predicted_ms = lambda plan: 4.0
    return bench
