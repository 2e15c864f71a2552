"""Claim: a learning rate that falls batch by batch makes the most of a short fine-tune.

    python benchmarks/claims/falling_rate.py [MODEL.pt DATA.yaml] [--name demo] [--seeds 1]
        [--ratios 0.30 0.45] [--plans NAME=PLAN.yaml ...] [--epochs N] [--save]

The bundled demo, or a model and its data; obs order and compensated; then the search's short
fine-tune, by Ultralytics' steps after each epoch and with a rate that falls batch by batch from the
middle on; mAP50-95 on val and test. About 40 s per fine-tune of the demo on one core.
"""

from __future__ import annotations

from unittest import mock

import checkout  # noqa: F401
from torch import nn

from autoprune.evaluation.quiet import prepare_environment

prepare_environment()

from autoprune.evaluation.fine_tune import FineTuned  # noqa: E402
from autoprune.evaluation.inside.short_trainer import ShortTrainer  # noqa: E402
from benchmarks.lib.compared_fine_tunes import Way, compare  # noqa: E402
from benchmarks.lib.short_fine_tunes import Bench  # noqa: E402


def by_epoch(
    bench: Bench, pruned: nn.Module, untrained: float, seed: int, epochs: int | None
) -> FineTuned:
    """As Ultralytics lowers the rate."""
    with mock.patch.object(ShortTrainer, "anneal"):
        return bench.trained(pruned, untrained, seed, epochs)


if __name__ == "__main__":
    ways: dict[str, Way] = {"by_epoch": by_epoch, "by_batch": Bench.trained}
    compare(__doc__.splitlines()[0], "falling_rate", "the learning rate falls batch by batch", ways)
