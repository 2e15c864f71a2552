"""ncnn's files: in silence, leaving nothing behind, and no file with layers that ncnn lacks."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from autoprune.errors import TrialFailed
from autoprune.latency.export import export_model
from tests.pruning.networks import stock

pytest.importorskip("pnnx")


def test_conversion_says_nothing_and_leaves_one_file_as_ultralytics_reads_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "here" / "model.ncnn"
    exported = export_model(stock("yolov8n", 2), path, (64, 64), "ncnn")
    assert capfd.readouterr() == ("", "")
    assert {*tmp_path.iterdir()} == {path.parent}
    assert {*path.parent.iterdir()} == {path, *(exported.reference or ())}
    with zipfile.ZipFile(path) as file:
        assert sorted(file.namelist()) == ["metadata.yaml", "model.ncnn.bin", "model.ncnn.param"]
        described = file.read("metadata.yaml").decode()
    assert "channels: 3" in described
    assert "task: detect" in described


class _Best(nn.Module):
    """As a head that lists its best objects by itself."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.flatten(1).topk(3)[0]


def test_a_layer_that_ncnn_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrialFailed, match=r"pnnx: ncnn has no layer for torch\.topk"):
        export_model(_Best(), tmp_path / "model.ncnn", (32, 32), "ncnn")
    assert not list(tmp_path.glob("*.ncnn"))
