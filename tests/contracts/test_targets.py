"""What every latency target promises: the table's rows, and the fake one of other tests."""

import os
import sys

import pytest
import torch
from torch import nn

from autoprune.errors import ConfigError
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
from autoprune.latency.targets import TARGETS, target_from
from tests.latency.sshd import running_sshd

SETTINGS = TimingSettings(
    warmup_s=0.02, block_s=0.003, min_blocks=10, max_blocks=40, min_s=0.1, cap_s=4.0, dense_s=0.2
)
SIZE = (32, 48)
OPTIONS = RuntimeOptions(runtime="onnxruntime", imgsz=SIZE)
ADDRESSES = "AUTOPRUNE_TEST_TARGETS"
"""Environment variable: what `--target` says, with spaces between, for rows that need a device."""


def net(width):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)
    )


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(params=[*TARGETS.names(), "fake"])
def target(request, tmp_path):
    if request.param == "fake":
        return FakeTarget()
    if request.param == "local":  # with a lock of its own
        return LocalTarget(lock_path=tmp_path / "latency.lock")
    if request.param == "ssh":
        return request.getfixturevalue("sshd").target(python=sys.executable)
    for address in os.environ.get(ADDRESSES, "").split():
        if address.partition("://")[0] == request.param:
            return target_from(address)
    pytest.skip(f"no device to test target {request.param} on: name one in {ADDRESSES}")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return [
        export_model(net(width), folder / f"{width}.onnx", SIZE, "onnxruntime")
        for width in (128, 16)
    ]


@pytest.mark.parametrize("name", TARGETS.names())
def test_the_row_says_how_it_is_asked_for_and_refuses_what_it_cannot_mean(name):
    row = TARGETS.row(name, "--target")
    assert row.form.partition("://")[0] == name
    assert row.summary.endswith(".")
    with pytest.raises(ConfigError, match="--target") as caught:
        target_from(f"{name}://-o bad\n")
    assert "\n" not in str(caught.value)


def test_a_lighter_model_has_a_ratio_below_one(target, pair):
    heavy, light = pair
    dense = measure_dense(target, heavy, OPTIONS, SETTINGS)
    result = measure_against(target, light, heavy, dense, OPTIONS, SETTINGS)
    assert 0 < result.ratio_low <= result.ratio <= result.ratio_high < 1
    assert result.low_ms <= result.median_ms <= result.high_ms
    assert result.fingerprint == dense.fingerprint
    assert result.fingerprint.runtime == OPTIONS.runtime
    assert result.fingerprint.imgsz == SIZE


def test_a_whole_comparison_comes_from_one_call(target, pair):
    heavy, light = pair
    first, second = compare(target, [light, heavy], OPTIONS, SETTINGS)
    assert first.ratio == 1
    assert second.ratio_low > 1


def test_outputs_are_checked_without_timing(target, pair):
    heavy, _ = pair
    given, expected = heavy.reference
    check = {"model": str(heavy.path), "input": str(given), "expected": str(expected)}
    job = OPTIONS.as_job() | {
        "dense": str(heavy.path),
        "candidates": [],
        "timing": None,
        "checks": [check],
    }
    output = checked_output(target.run(job, [heavy.path, given, expected], 60.0), 0, 1)
    assert output.stopped == "untimed"
    assert output.checks[0].max_rel_diff < 1e-4
