"""A bench for the real `evaluate`, around a network of one layer and invented scores."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from autoprune.domain.plan import PruningPlan
from autoprune.domain.record import DetectionMetrics, LatencyResult, ModelSize
from autoprune.evaluation.fine_tune_settings import FineTuneSettings
from autoprune.latency.processes import Processes
from autoprune.search.evaluate import candidate as evaluate
from autoprune.search.evaluate import training
from tests.search.fakes import DENSE, fake_bench, latency

PLAN = PruningPlan({0: 0.5, 1: 0.5, 2: None, 3: (0.5, 0.5)})


class Invented:
    """What the stages of an evaluation answer, and which of them were asked.

    Attributes:
        predicted_ms, ms: Latency by the predictor, and measured.
        later_ms: Measured in further processes.
        processes: That timed something.
        scores: What each validation finds, in turn.
        broken: Stage -> the error it raises.
    """

    def __init__(self, predicted_ms: float = 4.0, ms: float = 4.1) -> None:
        self.predicted_ms, self.ms = predicted_ms, ms
        self.later_ms: list[float] = []
        self.processes = 0
        self.scores = [0.3, 0.6]
        self.broken: dict[str, BaseException] = {}
        self.asked: list[str] = []
        self.settings: FineTuneSettings | None = None
        self.most_s: float | None = None  # that the fine-tune may take

    def ask(self, stage: str) -> None:
        self.asked.append(stage)
        if stage in self.broken:
            raise self.broken[stage]

    def prune(self, plan: PruningPlan, where: str) -> nn.Module:
        self.ask("prune")
        return nn.Conv2d(3, 4, 1)

    def measure(self, module: nn.Module, folder: Path, processes: Processes) -> LatencyResult:
        self.ask("latency")
        return processes.time(self._in_a_process)

    def _in_a_process(self) -> LatencyResult:
        self.processes += 1
        return latency(self.later_ms.pop(0) if self.processes > 1 else self.ms)

    def validate(self, *_: Any) -> DetectionMetrics:
        self.ask("validate")
        found = self.scores.pop(0)
        return DetectionMetrics(map50=found, map50_95=found, split="val", images=8)

    def fine_tune(
        self,
        module: nn.Module,
        data: Any,
        size: int,
        settings: FineTuneSettings,
        *_: Any,
        most_s: float | None = None,
        frozen_norms: bool = False,
        **__: Any,
    ) -> Any:
        self.ask("fine-tune")
        self.most_s, self.frozen_norms = most_s, frozen_norms
        self.settings = settings
        return SimpleNamespace(module=module, epochs=settings.epochs, images_seen=24)

    def save_model(self, module: nn.Module, path: Path, plan: PruningPlan) -> None:
        self.ask("save")
        path.write_bytes(b"weights")

    def keep_export(self, module: nn.Module, folder: Path) -> None:
        self.ask("export")
        (folder / "model.onnx").write_bytes(b"graph")


def invented_bench(
    root: Path, invented: Invented, monkeypatch: pytest.MonkeyPatch, compensated: bool = True
) -> Any:
    """A bench whose stages answer as `invented` does; the dense model's record is on disk."""
    bench = fake_bench(root)
    bench.folder.save_record(DENSE)
    bench.pruner.prune, bench.pruner.compensated = invented.prune, compensated
    bench.predictor = SimpleNamespace(error=SimpleNamespace(mape=0.02))
    bench.predicted_ms = lambda plan: invented.predicted_ms
    bench.measure, bench.save_model = invented.measure, invented.save_model
    bench.keep_export = invented.keep_export
    bench.fine_tune = FineTuneSettings()
    bench.yolo = SimpleNamespace(model=nn.Identity())
    bench.imgsz, bench.train_size, bench.device = (64, 64), 64, "cpu"
    bench.recalibration_images = ()
    bench.data = SimpleNamespace(
        selection_images=(), final_images=(), training_yaml=lambda folder: folder / "data.yaml"
    )
    monkeypatch.setattr(evaluate, "validate", invented.validate)
    monkeypatch.setattr(training, "validate", invented.validate)
    monkeypatch.setattr(training, "fine_tune", invented.fine_tune)
    monkeypatch.setattr(evaluate, "model_size", lambda module, size: ModelSize(params=9, macs=9))
    monkeypatch.setattr(
        evaluate, "recalibrate_batchnorm", lambda *_: invented.asked.append("recalibrate")
    )
    monkeypatch.setattr(
        evaluate, "renormalize_batchnorm", lambda *_: invented.asked.append("renormalize")
    )
    return bench
