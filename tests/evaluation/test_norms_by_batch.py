"""A network that works with the statistics of all images may not with those of one batch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from autoprune.domain.record import DetectionMetrics
from autoprune.evaluation import norms_by_batch
from autoprune.evaluation.dataset import DataSummary
from autoprune.evaluation.norms_by_batch import works_by_batch


@pytest.mark.parametrize(("found", "works"), [(0.46, True), (0.44, False)])
def test_a_tenth_of_its_map_may_go_with_the_statistics_of_single_batches(
    found: float,
    works: bool,
    pruned_module: nn.Module,
    data: DataSummary,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known, sizes = copy.deepcopy(pruned_module.state_dict()), []

    def recalibrated(module: nn.Module, images: Any, imgsz: int, device: str, batch: int) -> None:
        sizes.append(batch)
        module.get_submodule("model.0.bn").running_mean.fill_(7.0)  # type: ignore[operator,union-attr]

    def validated(module: Any, data: Any, images: Sequence[Path], *_: Any) -> DetectionMetrics:
        assert module.model[0].bn.running_mean[0] == 7.0
        return DetectionMetrics(map50=found, map50_95=found, split="val", images=len(images))

    monkeypatch.setattr(norms_by_batch, "recalibrate_batchnorm", recalibrated)
    monkeypatch.setattr(norms_by_batch, "validate", validated)
    answer = works_by_batch(pruned_module, data, data.val, 0.5, data.train[:4], 64, batch=3)
    assert (answer, sizes) == (works, [3])
    assert all(map(torch.equal, known.values(), pruned_module.state_dict().values()))


def test_one_image_says_nothing(pruned_module: nn.Module, data: DataSummary) -> None:
    assert works_by_batch(pruned_module, data, data.val, 0.5, data.train[:1], 64, batch=8)
