"""torch's table of ONNX operators: made for the first file of a process, and left as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from autoprune.latency import operator_table
from autoprune.latency.export import write_dynamo
from autoprune.latency.operator_table import operator_table_made_once

registration = pytest.importorskip("torch.onnx._internal.exporter._registration")


def test_the_table_is_made_for_the_first_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = registration.ONNXRegistry
    make, made = registry.from_torchlib, []

    def counted(_: Any, *args: Any, **kwargs: Any) -> Any:
        made.append(kwargs)
        return make(*args, **kwargs)

    monkeypatch.setattr(operator_table, "_MADE", {})
    monkeypatch.setattr(registry, "from_torchlib", classmethod(counted))
    stock = vars(registry)["from_torchlib"]
    for name in ("one.onnx", "two.onnx"):
        write_dynamo(nn.Conv2d(3, 4, 1).eval(), torch.zeros(1, 3, 8, 8), tmp_path / name)
        assert vars(registry)["from_torchlib"] is stock
    assert len(made) == 1


def test_a_torch_without_it_exports_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = registration.ONNXRegistry
    monkeypatch.delattr(registry, "from_torchlib")
    with operator_table_made_once():
        assert not hasattr(registry, "from_torchlib")
