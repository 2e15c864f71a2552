"""Which file counts: the first that runs and answers as torch does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from autoprune.errors import FailureReason, TrialFailed
from autoprune.latency import export
from autoprune.latency.checked_export import first_right
from autoprune.latency.export import export_model
from autoprune.latency.exported_model import ExportedModel
from autoprune.latency.local_target import LocalTarget
from autoprune.latency.measure import check_answers
from autoprune.latency.options import RuntimeOptions

OPTIONS = RuntimeOptions(runtime="onnxruntime", imgsz=(32, 32))
EXPORTERS = ("first", "second")


def _written(after: str | None) -> ExportedModel:
    place = 0 if after is None else EXPORTERS.index(after) + 1
    if place == len(EXPORTERS):
        raise TrialFailed("export", f"no exporter is left after {after}")
    return ExportedModel(Path("model.onnx"), "onnxruntime", (32, 32), EXPORTERS[place])


def _run(failing: dict[str, FailureReason]) -> tuple[str, str]:
    def run(exported: ExportedModel) -> str:
        if exported.exporter in failing:
            raise TrialFailed(failing[exported.exporter], f"{exported.exporter} is wrong")
        return f"ran {exported.exporter}"

    found, answer = first_right(_written, run)
    return found.exporter, answer


def test_a_file_that_is_wrong_or_does_not_run_gives_way_to_the_next() -> None:
    assert _run({}) == ("first", "ran first")
    assert _run({"first": "export"}) == ("second", "ran second")
    assert _run({"first": "latency"}) == ("second", "ran second")
    with pytest.raises(TrialFailed, match="second is wrong"):
        _run({"first": "latency", "second": "export"})


@pytest.mark.parametrize("reason", ["timeout", "oom"])
def test_what_another_file_would_not_mend_is_raised_at_once(reason: FailureReason) -> None:
    with pytest.raises(TrialFailed, match="first is wrong"):
        _run({"first": reason, "second": "export"})


class Wrong(nn.Module):
    """What an exporter at fault would write."""

    def __init__(self, right: nn.Module) -> None:
        super().__init__()
        self.right = right

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.right(image) + 0.5


@pytest.mark.parametrize("broken", ["differs from torch", "cannot load it"])
def test_a_real_file_is_run_and_compared_before_it_counts(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = export.write_dynamo

    def wrong(model: nn.Module, image: torch.Tensor, path: Path) -> None:
        if broken == "cannot load it":
            path.write_bytes(b"no graph")
        else:
            right(Wrong(model), image, path)

    target = LocalTarget(lock_path=tmp_path / "latency.lock")
    path = tmp_path / "model.onnx"
    model = nn.Sequential(nn.Conv2d(3, 4, 1))
    refused: list[str] = []

    def run(exported: ExportedModel) -> None:
        try:
            check_answers(target, exported, OPTIONS)
        except TrialFailed as failure:
            refused.append(failure.detail)
            raise

    monkeypatch.setattr(export, "write_dynamo", wrong)
    found, _ = first_right(
        lambda after: export_model(model, path, OPTIONS.imgsz, "onnxruntime", after), run
    )
    assert found.exporter == "torchscript"
    assert len(refused) == 1
    assert broken in refused[0]
    assert np.load((found.reference or ())[1]).shape == (1, 4, 32, 32)
