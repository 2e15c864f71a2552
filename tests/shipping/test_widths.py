"""Widths are compared group by group; the plan decides, not the file's name."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from autoprune.demo.bundle import demo_checkpoint
from autoprune.errors import AutopruneError
from autoprune.evaluation.checkpoint import load_yolo
from autoprune.latency.export import export_model
from autoprune.pruning.prune import Pruner, uniform_plan
from autoprune.shipping.widths import check_file_widths, check_widths


def test_a_model_of_the_plan_passes_and_any_other_is_named() -> None:
    dense = load_yolo(demo_checkpoint()).model
    pruner = Pruner(dense)
    plan, other = (uniform_plan(pruner.widths, ratio) for ratio in (0.3, 0.35))
    pruned = pruner.prune(plan)
    assert check_widths(dense, plan, pruned, "x") == sum(pruner.signature(plan))
    with pytest.raises(AutopruneError, match=r"reload: got 16 channels on axis 0 of model.0.conv"):
        check_widths(dense, plan, dense, "after reload")
    with pytest.raises(AutopruneError, match="expected the plan's"):
        check_widths(dense, other, pruned, "x")


@pytest.mark.parametrize(("runtime", "suffix"), [("onnxruntime", ".onnx"), ("torch", ".pt2")])
def test_the_files_weights_are_compared_by_name(runtime: str, suffix: str, tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.SiLU(), nn.Conv2d(5, 4, 1))
    exported = export_model(net, tmp_path / f"net{suffix}", (32, 32), runtime)
    assert check_file_widths(net, exported.path) == (2, 2)
    wider = nn.Sequential(nn.Conv2d(3, 6, 3), nn.SiLU(), nn.Conv2d(6, 4, 1))
    with pytest.raises(AutopruneError, match=r"got 0 of shape \(5, 3, 3, 3\), expected the model"):
        check_file_widths(wider, exported.path)
    assert check_file_widths(net, tmp_path / "net.engine") is None
