"""Claim: where a network does not work with the statistics of one batch, frozen norms train it.

    python benchmarks/claims/frozen_norms.py [MODEL.pt DATA.yaml] [--name demo] [--seeds 1]
        [--ratios 0.30 0.45] [--plans NAME=PLAN.yaml ...] [--epochs N] [--save]

The bundled demo, or a model and its data; obs order and compensated; then the search's short
fine-tune with batch norms that go by each batch, as always in training, and with ones that keep
their mean and variance; mAP50-95 on val and test. "By batch" is the untrained network's with the
statistics of batches of 8, as the search asks before it trains: it freezes them where more than a
tenth is lost. About 40 s per fine-tune of the demo on one core.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import checkout  # noqa: F401
from torch import nn

from autoprune.evaluation.quiet import prepare_environment

prepare_environment()

from autoprune.evaluation.fine_tune_settings import FineTuneSettings  # noqa: E402
from autoprune.evaluation.recalibrate import recalibrate_batchnorm  # noqa: E402
from benchmarks.lib.compared_fine_tunes import Way, compare  # noqa: E402
from benchmarks.lib.short_fine_tunes import Bench  # noqa: E402


def works(bench: Bench, pruned: nn.Module) -> dict[str, Any]:
    """mAP50-95 on val with the statistics of single batches."""
    by_batch = copy.deepcopy(pruned)
    recalibrate_batchnorm(by_batch, bench.images, bench.imgsz, batch=FineTuneSettings().batch)
    return {"by_batch": bench.map_of(by_batch, "val")}


if __name__ == "__main__":
    ways: dict[str, Way] = {
        "moving": Bench.trained,
        "frozen": partial(Bench.trained, frozen_norms=True),
    }
    claim = "frozen batch norms train networks that do not work by batch"
    compare(__doc__.splitlines()[0], "frozen_norms", claim, ways, works)
