"""What a study measures with."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from autoprune.errors import TrialFailed
from autoprune.evaluation.pictures import Pictures
from autoprune.latency.processes import Processes
from autoprune.latency.quantizing import IMAGES, Quantizing
from autoprune.search.context import int8, workbench
from autoprune.search.context.workbench import Measured
from tests.search.fakes import latency


def test_one_export_is_timed_in_as_many_processes_as_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported: list[Path] = []
    times = iter((4.9, 4.7, 4.8, 5.0))
    bench: Any = SimpleNamespace(
        dense_export="dense",
        dense_latency=latency(10.0),
        target=None,
        options=None,
        timing=None,
        export=lambda _, folder, after: exported.append(folder),
    )
    bench._timed = lambda exported: Measured._timed(bench, exported)
    monkeypatch.setattr(workbench, "measure_against", lambda *_: latency(next(times)))
    found = Measured.measure(bench, nn.Identity(), tmp_path / "trial", Processes(3))
    assert len(exported) == 1
    assert (found.low_ms, found.median_ms, found.high_ms) == (4.7 * 0.99, 4.8, 4.9 * 1.01)
    assert Measured.measure(bench, nn.Identity(), tmp_path / "trial") == latency(5.0)
    assert list((tmp_path / "trial").iterdir()) == []


class TwoExporters:
    """A bench whose first exporter writes a file that is wrong."""

    target = options = None

    def __init__(self, wrong: tuple[str, ...] = ("first",)) -> None:
        self.wrong, self.asked = wrong, []
        self.calibrated: list[bool] = []

    def export(
        self,
        module: nn.Module,
        folder: Path,
        after: str | None = None,
        calibrated: bool = False,
    ) -> Any:
        self.asked.append(after)
        self.calibrated.append(calibrated)
        if after == "second":
            raise TrialFailed("export", "no exporter is left after second")
        exporter = "first" if after is None else "second"
        path = folder / "model.onnx"
        path.write_text(exporter)
        return SimpleNamespace(path=path, exporter=exporter)

    def _timed(self, exported: Any) -> Any:
        if exported.exporter in self.wrong:
            raise TrialFailed("export", f"{exported.exporter} differs from torch")
        return latency(4.0)


def test_a_file_that_answers_wrongly_is_written_by_the_next_exporter(tmp_path: Path) -> None:
    bench: Any = TwoExporters()
    assert Measured.measure(bench, nn.Identity(), tmp_path) == latency(4.0)
    assert bench.asked == [None, "first"]


def test_where_no_exporter_is_left_the_first_word_counts(tmp_path: Path) -> None:
    bench: Any = TwoExporters(wrong=("first", "second"))
    with pytest.raises(TrialFailed, match="second differs from torch"):
        Measured.measure(bench, nn.Identity(), tmp_path)
    assert bench.asked == [None, "first", "second"]


def _checked_by(bench: TwoExporters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        workbench, "check_answers", lambda target, exported, options: bench._timed(exported)
    )


def test_the_file_that_is_kept_has_run_like_the_one_that_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench: Any = TwoExporters()
    _checked_by(bench, monkeypatch)
    Measured.keep_export(bench, nn.Identity(), tmp_path)
    assert bench.asked == [None, "first"]
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert (tmp_path / "model.onnx").read_text() == "second"


def test_where_every_file_is_wrong_the_one_kept_before_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench: Any = TwoExporters(wrong=("first", "second"))
    _checked_by(bench, monkeypatch)
    (tmp_path / "model.onnx").write_text("earlier")
    with pytest.raises(TrialFailed, match="second differs from torch"):
        Measured.keep_export(bench, nn.Identity(), tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["earlier"]


def test_another_failure_is_no_reason_to_export_again(tmp_path: Path) -> None:
    bench: Any = TwoExporters()

    def too_long(_: Any) -> Any:
        raise TrialFailed("timeout", "the measurement took too long")

    bench._timed = too_long
    with pytest.raises(TrialFailed, match="took too long"):
        Measured.measure(bench, nn.Identity(), tmp_path)
    assert bench.asked == [None]


def test_only_a_file_whose_map_counts_sees_training_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(workbench, "export_model", lambda *given: seen.append(given[-1]))
    files = tuple(tmp_path / f"{number}.png" for number in range(IMAGES + 5))
    bench: Any = SimpleNamespace(
        kept_file=lambda folder: folder / "model.onnx",
        recalibration_images=files,
        imgsz=(32, 64),
        data=SimpleNamespace(channels=3),
        options=SimpleNamespace(runtime="onnxruntime-int8"),
        full_range=True,
    )
    Measured.export(bench, nn.Identity(), tmp_path)
    Measured.export(bench, nn.Identity(), tmp_path, calibrated=True)
    timed, scored = seen
    assert timed == Quantizing(None, full_range=True)
    assert scored == Quantizing(Pictures(files[:IMAGES], (32, 64), 3), full_range=True)


def test_a_file_whose_accuracy_counts_is_quantized_with_images_one_that_is_timed_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench: Any = TwoExporters()
    _checked_by(bench, monkeypatch)
    Measured.keep_export(bench, nn.Identity(), tmp_path)
    monkeypatch.setattr(int8, "score_file", lambda *_: 0.5)
    found: Any = int8.score_quantized(bench, nn.Identity(), tmp_path / "kept.onnx", ())
    assert found == 0.5
    assert bench.calibrated == [True, True, True]
    bench.calibrated.clear()
    Measured.measure(bench, nn.Identity(), tmp_path)
    assert bench.calibrated == [False, False]
