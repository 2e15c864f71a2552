"""What every runtime promises: the table's rows, those of installed packages included."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from autoprune.errors import ConfigError
from autoprune.latency.answers import local_answers
from autoprune.latency.export import ExportedModel, export_model
from autoprune.latency.local_target import LocalTarget
from autoprune.latency.measure import check_loads, compare
from autoprune.latency.options import RuntimeOptions, TimingSettings
from autoprune.latency.runtimes import RUNTIMES, Runtime
from autoprune.latency.slim_files import slim_files

SIZE = (32, 48)
QUICK = TimingSettings(
    warmup_s=0.02, block_s=0.003, min_blocks=8, max_blocks=20, min_s=0.05, cap_s=4.0, dense_s=0.1
)
pytestmark = pytest.mark.parametrize("name", RUNTIMES.names())


class Net(nn.Module):
    """Three convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, 8, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        passed = nn.functional.silu(self.first(image))
        return self.last(nn.functional.silu(self.second(passed)))


def row_of(name: str) -> Runtime:
    """The row, where its packages are here."""
    row = RUNTIMES.row(name, "--runtime")
    for package in (*row.packages, *row.makers):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"runtime {name} needs {package}")
    if row.on_gpu and row.provider not in onnxruntime.get_available_providers():
        pytest.skip(f"runtime {name} needs {row.provider}")
    return row


@cache
def options(name: str) -> RuntimeOptions:
    return RuntimeOptions(runtime=name, imgsz=SIZE)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], ExportedModel]:
    """The file of a net that computes little, written once for each runtime."""

    @cache
    def exported(name: str) -> ExportedModel:
        path = tmp_path_factory.mktemp(name) / f"a{row_of(name).suffix}"
        return export_model(Net(8), path, SIZE, name)

    return exported


@pytest.fixture
def target(tmp_path: Path) -> LocalTarget:
    return LocalTarget(lock_path=tmp_path / "latency.lock")


def test_the_row_says_what_the_target_needs(name: str) -> None:
    row = RUNTIMES.row(name, "--runtime")
    assert re.fullmatch(r"\.[a-z0-9]{1,8}", row.suffix)  # as files are named on an ssh target
    assert row.writers
    assert row.precisions
    assert set(row.precisions) <= {"fp32", "fp16", "bf16", "int8"}
    assert ("int8" in row.precisions) == (row.quantize is not None)
    assert row.summary.endswith(".")
    assert "\n" not in row.summary
    assert row.loader is None or row.loader.is_file()
    assert not row.can_slim or row.suffix == ".onnx"


def test_each_exporter_writes_a_file_whose_output_is_torchs(
    name: str, target: LocalTarget, tmp_path: Path
) -> None:
    row, before = row_of(name), None
    for exporter, _ in row.writers:
        path = tmp_path / exporter / f"model{row.suffix}"
        exported = export_model(Net(16), path, SIZE, name, after=before)
        assert exported.exporter == before or exporter == exported.exporter
        (result,) = compare(target, [exported], options(name), QUICK)  # it compares the outputs
        assert result.fingerprint.runtime == name
        assert result.fingerprint.provider == row.provider
        before = exporter
    image, expected = map(np.load, exported.reference or ())
    with local_answers(exported, options(name)) as answers:
        (answered,) = answers(image)
    assert answered.shape == expected.shape
    apart = np.abs(answered - expected).max() / max(1.0, np.abs(expected).max())
    assert apart <= (row.tolerance if row.quantize is None else 0.05)


def test_a_lighter_model_is_faster(
    name: str, target: LocalTarget, small: Callable[[str], ExportedModel], tmp_path: Path
) -> None:
    heavy = export_model(Net(96), tmp_path / f"96{row_of(name).suffix}", SIZE, name)
    _, lighter = compare(target, [heavy, small(name)], options(name), QUICK)
    assert 0 < lighter.ratio_low <= lighter.ratio <= lighter.ratio_high < 1


def test_each_precision_and_several_threads_are_passed_on_and_told_or_refused_in_one_line(
    name: str, target: LocalTarget, small: Callable[[str], ExportedModel]
) -> None:
    row = row_of(name)
    for precision in row.precisions:
        asked = replace(options(name), precision=precision, threads=2)
        try:
            (result,) = compare(target, [small(name)], asked, QUICK)
        except ConfigError as error:  # the device does not compute in it
            refused = str(error)
        else:
            told = result.fingerprint
            assert (told.precision, told.threads) == (precision, 2)
            continue
        assert precision != row.precisions[0]
        said = rf"--precision: asked for {precision}, but .* computes in: .*fp32.*"
        assert re.fullmatch(said, refused)
    with pytest.raises(ConfigError, match=rf"--precision: got 'fp8', .* with --runtime {name}$"):
        replace(options(name), precision="fp8")


def test_a_provider_that_is_not_there_is_refused_in_one_line(
    name: str, target: LocalTarget, small: Callable[[str], ExportedModel]
) -> None:
    asked = replace(options(name), provider="NoSuchDevice")
    with pytest.raises(ConfigError, match=r"--provider: .*NoSuchDevice") as caught:
        check_loads(target, small(name), asked)
    assert "\n" not in str(caught.value)


def test_a_memory_layout_is_chosen_where_the_row_says_so_and_refused_elsewhere(
    name: str, target: LocalTarget, small: Callable[[str], ExportedModel]
) -> None:
    row = row_of(name)
    if not row.channels_last:
        with pytest.raises(ConfigError, match="--channels-last: got True, expected --runtime"):
            RuntimeOptions(runtime=name, imgsz=SIZE, channels_last=True)
        return
    (result,) = compare(target, [small(name)], replace(options(name), channels_last=True), QUICK)
    assert result.fingerprint.provider == f"{row.provider} channels_last"


def test_files_cut_from_the_dense_one_run_in_other_widths(
    name: str, target: LocalTarget, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    row, net = row_of(name), Net(16)
    dense = export_model(net, tmp_path / f"dense{row.suffix}", SIZE, name)
    files = slim_files(dense, net)
    assert (files is not None) == (row.can_slim or name == "openvino-int8")
    if files is None:
        return
    assert files.covers(["first", "second", "last"])
    widths = {"first": (3, 8), "second": (8, 4), "last": (4, 8)}
    capfd.readouterr()
    slim = files.write(widths, tmp_path / f"slim{row.suffix}")
    assert capfd.readouterr() == ("", "")
    check_loads(target, replace(dense, path=slim, reference=None), options(name))
    assert slim.stat().st_size < dense.path.stat().st_size
