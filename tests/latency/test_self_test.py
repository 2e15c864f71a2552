"""The self-test reports what a measurement gets wrong, on invented and on real times."""

from pathlib import Path

import pytest

from autoprune.latency.exported_model import ExportedModel
from autoprune.latency.fake_target import FakeTarget
from autoprune.latency.local_target import LocalTarget
from autoprune.latency.options import RuntimeOptions, TimingSettings
from autoprune.latency.self_test import BURDENS, Trustworthiness, self_test, smallest_difference
from tests.latency.tiny_models import write_onnx

OPTIONS = RuntimeOptions(runtime="onnxruntime", imgsz=(32, 32))


def test_invented_times_are_measured_without_error(tmp_path):
    path = write_onnx(tmp_path / "m.onnx", 1)
    heard = []
    tested = self_test(
        FakeTarget(lambda path: 4.0),
        ExportedModel(path, "onnxruntime", (32, 32), "user"),
        OPTIONS,
        rounds=3,
        heard=lambda done, wanted: heard.append((done, wanted)),
    )
    assert tuple(each.burden for each in tested) == BURDENS
    assert heard[-1] == (12, 12)
    same, *slower = tested
    assert same.errors == (0.0, 0.0, 0.0)
    assert (same.found, same.covered) == (0, 3)
    assert all(each.found == 3 for each in slower)
    assert smallest_difference(tested) < 0.002


def test_misses_are_counted():
    tested = self_test(
        FakeTarget(lambda path: 4.0),
        ExportedModel(Path(__file__), "onnxruntime", (32, 32), "user"),
        OPTIONS,
        rounds=1,
    )
    measured = tested[2].results[0]
    blurred = measured.model_copy(update={"ratio_low": 0.9, "ratio": 1.0, "ratio_high": 1.04})
    judged = Trustworthiness(0.05, (measured, blurred))
    assert (judged.found, judged.covered) == (1, 1)
    assert judged.errors[1] == pytest.approx(1 / 1.05 - 1)


def test_a_real_model_with_a_burden_takes_that_much_longer(tmp_path):
    model = ExportedModel(
        write_onnx(tmp_path / "m.onnx", 4, 128), "onnxruntime", (128, 128), "user"
    )
    settings = TimingSettings(warmup_s=0.05, min_s=0.2, cap_s=1.0, dense_s=0.3, half_width=0.03)
    options = RuntimeOptions(runtime="onnxruntime", imgsz=(128, 128))
    *_, doubled = self_test(LocalTarget(), model, options, settings, rounds=1, burdens=(0.0, 1.0))
    assert doubled.results[0].ratio > 1.4  # by how much is for the benchmarks to show
