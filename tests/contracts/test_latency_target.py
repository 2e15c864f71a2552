"""What every latency target promises; a new target joins the list of the fixture."""

import functools
import sys
from collections.abc import Callable

import pytest
import torch
from torch import nn

from autoprune.latency.export import export_model
from autoprune.latency.fake_target import FakeTarget
from autoprune.latency.local_target import LocalTarget
from autoprune.latency.measure import (
    RuntimeOptions,
    TimingSettings,
    compare,
    measure_against,
    measure_dense,
)
from autoprune.latency.runner_output import checked_output
from autoprune.latency.targets import LatencyTarget
from tests.latency.sshd import running_sshd

SETTINGS = TimingSettings(
    warmup_s=0.02, block_s=0.003, min_blocks=10, max_blocks=40, min_s=0.1, cap_s=4.0, dense_s=0.2
)
SIZE = (32, 48)
# Torch over ssh differs from torch here in nothing that ONNX Runtime over ssh does not show.
CASES = [
    ("onnxruntime", "local"),
    ("onnxruntime", "fake"),
    ("onnxruntime", "ssh"),
    ("torch", "local"),
    ("torch", "fake"),
]
pytestmark = pytest.mark.parametrize(("pair", "target"), CASES, indirect=True)


def net(width):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)
    )


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def target(request, tmp_path):
    made: dict[str, Callable[[], LatencyTarget]] = {
        "local": lambda: LocalTarget(lock_path=tmp_path / "latency.lock"),
        "fake": FakeTarget,
        "ssh": lambda: request.getfixturevalue("sshd").target(python=sys.executable),
    }
    return made[request.param]()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    @functools.cache
    def export(runtime):
        folder = tmp_path_factory.mktemp(runtime)
        suffix = {"onnxruntime": "onnx", "torch": "pt2"}[runtime]
        heavy, light = (
            export_model(net(width), folder / f"{width}.{suffix}", SIZE, runtime)
            for width in (128, 16)
        )
        return heavy, light, RuntimeOptions(runtime=runtime, imgsz=SIZE)

    return export


@pytest.fixture
def pair(request, exported):
    return exported(request.param)


def test_a_lighter_model_has_a_ratio_below_one(target, pair):
    heavy, light, options = pair
    dense = measure_dense(target, heavy, options, SETTINGS)
    result = measure_against(target, light, heavy, dense, options, SETTINGS)
    assert 0 < result.ratio_low <= result.ratio <= result.ratio_high < 1
    assert result.low_ms <= result.median_ms <= result.high_ms
    assert result.fingerprint == dense.fingerprint
    assert result.fingerprint.runtime == options.runtime
    assert result.fingerprint.imgsz == SIZE


def test_a_whole_comparison_comes_from_one_call(target, pair):
    heavy, light, options = pair
    first, second = compare(target, [light, heavy], options, SETTINGS)
    assert first.ratio == 1
    assert second.ratio_low > 1


def test_outputs_are_checked_without_timing(target, pair):
    heavy, _, options = pair
    given, expected = heavy.reference
    check = {"model": str(heavy.path), "input": str(given), "expected": str(expected)}
    job = options.as_job() | {
        "dense": str(heavy.path),
        "candidates": [],
        "timing": None,
        "checks": [check],
    }
    output = checked_output(target.run(job, [heavy.path, given, expected], 60.0), 0, 1)
    assert output.stopped == "untimed"
    assert output.checks[0].max_rel_diff < 1e-4
