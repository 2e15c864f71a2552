"""An INT8 study's best plan is timed in float too, once, beside the dense model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from autoprune.errors import ConfigError
from autoprune.latency.exported_model import ExportedModel
from autoprune.latency.fake_target import FakeTarget
from autoprune.latency.options import RuntimeOptions
from autoprune.search.select import float_twin
from autoprune.search.select.float_twin import time_in_float
from autoprune.storage.study_folder import StudyFolder
from tests.search.fakes import DENSE, Heard, record, unlimited

BEST = record("trial 0", 4.0, 0.6, number=0)


@dataclass(frozen=True)
class Bench:
    """What is asked of a study."""

    folder: StudyFolder
    target: Any
    options: RuntimeOptions
    imgsz: tuple[int, int] = (64, 64)
    dense: Any = DENSE
    config: Any = field(default_factory=lambda: SimpleNamespace(trust_checkpoint=False))
    yolo: Any = field(default_factory=lambda: SimpleNamespace(model=nn.Identity()))

    def export(self, module: nn.Module, folder: Path) -> ExportedModel:
        folder.mkdir()
        path = folder / "model.onnx"
        path.write_text(folder.name)
        return ExportedModel(path, self.options.runtime, self.imgsz, "fake")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    folder = StudyFolder(tmp_path)
    for each in (DENSE, BEST):
        folder.save_record(each)
    (folder.trial(0) / "model.pt").write_bytes(b"weights")
    loaded = SimpleNamespace(model=nn.Identity())
    monkeypatch.setattr(float_twin, "load_yolo", lambda path, trust: loaded)
    target = FakeTarget(lambda path: 11.0 if path.read_text() == "dense" else 6.0)
    return Bench(folder, target, RuntimeOptions("onnxruntime-int8", (64, 64)))


def test_both_records_keep_what_the_float_runtime_takes(bench: Any) -> None:
    time_in_float(bench, BEST, unlimited(), Heard())
    dense, best = bench.folder.dense_record(), bench.folder.reread(BEST)
    assert dense.float_latency.median_ms == pytest.approx(11.0, rel=0.1)
    assert best.float_latency.median_ms == pytest.approx(6.0, rel=0.1)
    assert best.float_latency.fingerprint.runtime == "onnxruntime"
    assert best.latency == BEST.latency
    jobs = len(bench.target.jobs)
    time_in_float(bench, best, unlimited(), Heard())
    assert len(bench.target.jobs) == jobs, "it is done once"


def test_a_target_without_the_float_runtime_is_said_and_no_failure(bench: Any) -> None:
    def lacks(*_: Any) -> Any:
        raise ConfigError("target has no onnxruntime: pip install onnxruntime there")

    bench.target.run = lacks
    heard = Heard()
    time_in_float(bench, BEST, unlimited(), heard)
    assert "Not timed in float: target has no onnxruntime" in heard.said[-1]
    assert bench.folder.reread(BEST) == BEST


def test_a_study_in_float_has_no_twin(bench: Any) -> None:
    plain = Bench(bench.folder, bench.target, RuntimeOptions("onnxruntime", (64, 64)))
    time_in_float(plain, BEST, unlimited(), Heard())  # type: ignore[arg-type]
    assert bench.target.jobs == []
