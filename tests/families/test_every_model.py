"""Of every family and task: a pruned model computes what the dense one does, less what went.

The blunt form of this proof passes everything: with the batch norms of a new model, attention is
hardly seen. So the statistics are measured on noise, and wrong couplings must fail it.
"""

from __future__ import annotations

import pytest

from autoprune.pruning.prune import Pruner
from tests.families.every_model import answers, error, random_plan, scrambled, silenced

MODELS = [
    "yolov3-tiny", "yolov5n", "yolov6n", "yolov8n", "yolov8n-p2", "yolov8n-p6", "yolov8n-ghost",
    "yolov9t", "yolov10n", "yolo11n", "yolo11m", "yolo12n", "yolo26n", "yolo26m", "yolo26n-p2",
    *(f"{size}-{task}" for size in ("yolov8n", "yolo11n", "yolo26n")
      for task in ("seg", "pose", "obb")),
]  # fmt: skip
TOLERANCE = 1e-11


@pytest.mark.parametrize("name", MODELS)
def test_a_pruned_model_is_the_dense_one_with_those_channels_silenced(name: str) -> None:
    dense = scrambled(name)
    pruner, before = Pruner(dense), answers(dense)
    for seed in range(2):
        plan = random_plan(pruner.widths, seed)
        pruned = pruner.prune(plan)
        expected = answers(silenced(dense, pruned))
        assert error(answers(pruned), expected) < TOLERANCE
        assert error(before, expected) > 1e-4  # else it would prove nothing
