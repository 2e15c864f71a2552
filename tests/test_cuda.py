"""What only a GPU can show; skipped without one.

AUTOPRUNE_TEST_DEVICE=cpu runs it on the CPU, which shows that the tests themselves work.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from autoprune.demo.bundle import demo_checkpoint
from autoprune.demo.dataset import Split, write_detection_set
from autoprune.evaluation.checkpoint import load_yolo
from autoprune.evaluation.dataset import DataSummary, inspect_data
from autoprune.evaluation.fine_tune import fine_tune, settings_from
from autoprune.evaluation.recalibrate import recalibrate_batchnorm
from autoprune.evaluation.renormalize import renormalize_batchnorm
from autoprune.evaluation.validate import validate
from autoprune.latency.export import export_model
from autoprune.latency.local_target import LocalTarget
from autoprune.latency.measure import check_answers, compare
from autoprune.latency.options import RuntimeOptions, TimingSettings
from autoprune.pruning.prune import Pruner, uniform_plan
from autoprune.search.learn.calibration import calibrate

DEVICE = os.environ.get("AUTOPRUNE_TEST_DEVICE", "cuda:0")
SIDE = 64
QUICK = TimingSettings(min_blocks=8, min_s=0.1, cap_s=4.0, dense_s=0.2)
pytestmark = [
    pytest.mark.filterwarnings("default"),  # of operations that are not deterministic there
    pytest.mark.skipif(
        DEVICE != "cpu" and not torch.cuda.is_available(), reason="no CUDA GPU here"
    ),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSummary:
    splits = {"train": Split(1, 24), "val": Split(2, 16)}
    return inspect_data(write_detection_set(tmp_path_factory.mktemp("set"), splits))


@pytest.fixture
def module() -> Any:
    return load_yolo(demo_checkpoint()).model


def test_calibration_finds_what_the_cpu_finds(
    module: Any, data: DataSummary, tmp_path: Path
) -> None:
    there, here = (
        calibrate(module, data, SIDE, 16, device=device, cache=tmp_path / device.replace(":", ""))
        for device in (DEVICE, "cpu")
    )
    assert there.images == here.images == 16
    for name, moments in here.inputs.items():
        assert there.inputs[name].covariance.device.type == "cpu"
        close = {"rtol": 0.1, "atol": 0.1 * float(moments.covariance.abs().max())}  # other patches
        assert torch.allclose(there.inputs[name].covariance, moments.covariance, **close), name
    plan = uniform_plan(Pruner(module, "obs", there, True).widths, 0.4)
    pruned = Pruner(module, "obs", there, True).prune(plan)
    assert next(pruned.parameters()).device.type == "cpu"


@pytest.mark.parametrize("statistics", [recalibrate_batchnorm, renormalize_batchnorm])
def test_batch_norms_get_the_same_statistics_and_come_back(
    module: Any, data: DataSummary, statistics: Any
) -> None:
    other = load_yolo(demo_checkpoint()).model
    statistics(module, data.train[:8], SIDE, DEVICE)
    statistics(other, data.train[:8], SIDE, "cpu")
    for (name, one), two in zip(
        module.state_dict().items(), other.state_dict().values(), strict=True
    ):
        assert one.device.type == "cpu", name
        assert torch.allclose(one.float(), two.float(), rtol=0.05, atol=0.05), name


def test_scores_are_the_cpus(module: Any, data: DataSummary) -> None:
    scores = [validate(module, data, data.val, SIDE, device).map50_95 for device in (DEVICE, "cpu")]
    assert scores[0] == pytest.approx(scores[1], abs=0.01)
    assert next(module.parameters()).device.type == "cpu"


@pytest.mark.parametrize("distill", [0, 1])
def test_a_fine_tune_ends_on_the_cpu_as_wide_as_it_was(
    module: Any, data: DataSummary, distill: int, tmp_path: Path
) -> None:
    pruner = Pruner(module, "l2")
    pruned = pruner.prune(uniform_plan(pruner.widths, 0.5))
    asked = {"epochs": 1, "device": "cpu" if DEVICE == "cpu" else 0, "distill": distill}
    yaml = data.training_yaml(tmp_path / "data")
    tuned = fine_tune(pruned, yaml, SIDE, settings_from(asked), tmp_path, teacher=module)
    assert tuned.images_seen == 24
    for before, after in zip(pruned.parameters(), tuned.module.parameters(), strict=True):
        assert (after.device.type, after.dtype, after.shape) == (
            "cpu",
            torch.float32,
            before.shape,
        )


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_torch_is_right_and_timed_there(
    module: Any, tmp_path: Path, precision: str, channels_last: bool
) -> None:
    size = (SIDE, SIDE)
    options = RuntimeOptions("torch", size, 1, DEVICE, channels_last, precision)
    exported = export_model(module, tmp_path / "a.pt2", size, "torch")
    check_answers(LocalTarget(), exported, options)
    first, again = compare(LocalTarget(), [exported, exported], options, QUICK)
    assert first.fingerprint.provider.startswith(DEVICE)
    assert first.fingerprint.precision == precision
    assert 0.7 < again.ratio < 1.4
    assert DEVICE == "cpu" or "with" in first.fingerprint.cpu, "the card is named"


@pytest.mark.parametrize(
    ("runtime", "provider", "precision"),
    [
        ("onnxruntime", "CUDAExecutionProvider", "fp32"),
        ("tensorrt", "TensorrtExecutionProvider", "fp32"),
        ("tensorrt", "TensorrtExecutionProvider", "fp16"),
    ],
)
def test_onnx_runtimes_providers_are_right_and_timed_there(
    module: Any, tmp_path: Path, runtime: str, provider: str, precision: str
) -> None:
    import onnxruntime

    if provider not in onnxruntime.get_available_providers():
        pytest.skip(f"ONNX Runtime has no {provider} here")
    options = RuntimeOptions(runtime, (SIDE, SIDE), 1, provider, precision=precision)
    exported = export_model(module, tmp_path / "a.onnx", (SIDE, SIDE), runtime)
    (found,) = compare(LocalTarget(), [exported], options, QUICK)
    assert found.fingerprint.provider == provider
