"""Statistics are collected once per model, images, seed and size; the cache is no risk."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from ultralytics.nn.tasks import DetectionModel

from autoprune.demo.dataset import Split, write_detection_set
from autoprune.errors import ConfigError
from autoprune.evaluation import training_loss
from autoprune.evaluation.dataset import DataSummary, inspect_data
from autoprune.evaluation.training_loss import sample_images
from autoprune.pruning import statistics as statistics_module
from autoprune.pruning.statistics import CalibrationStatistics
from autoprune.search.learn import calibration
from autoprune.search.learn.calibration import calibrate
from tests.pruning.networks import fingerprint


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSummary:
    folder = tmp_path_factory.mktemp("data") / "set"
    return inspect_data(write_detection_set(folder, {"train": Split(1, 6), "val": Split(2, 2)}))


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(0)
    return DetectionModel("yolov8n.yaml", nc=8, verbose=False)


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Arguments of every real collection; files stay small."""
    monkeypatch.setattr(statistics_module, "KERNEL_WIDE_BYTES", 10**6)
    calls: list[Any] = []
    collect = calibration._collect

    def counted(*arguments: Any) -> CalibrationStatistics:
        calls.append(arguments)
        return collect(*arguments)

    monkeypatch.setattr(calibration, "_collect", counted)
    return calls


def assert_same(one: CalibrationStatistics, other: CalibrationStatistics) -> None:
    assert one.inputs.keys() == other.inputs.keys() == one.output_fisher.keys()
    assert one.images == other.images
    for name, moments in one.inputs.items():
        again = other.inputs[name]
        assert torch.equal(moments.mean, again.mean)
        assert torch.equal(moments.covariance, again.covariance)
        assert moments.kernel_wide == again.kernel_wide
        assert torch.equal(one.output_fisher[name], other.output_fisher[name])


def test_the_second_call_reads_what_the_first_one_found(
    module: nn.Module, data: DataSummary, tmp_path: Path, collected: list[Any]
) -> None:
    before = fingerprint(module)
    first = calibrate(module, data, 64, 4, cache=tmp_path)
    second = calibrate(module, data, 64, 4, cache=tmp_path)
    assert len(collected) == 1
    assert_same(first, second)
    assert {one.kernel_wide for one in first.inputs.values()} == {True, False}
    assert fingerprint(module) == before
    assert module.training  # as it was


def test_other_images_seed_size_or_model_are_collected_anew(
    module: nn.Module, data: DataSummary, tmp_path: Path, collected: list[Any]
) -> None:
    other = DetectionModel("yolov8n.yaml", nc=8, verbose=False)
    calibrate(module, data, 64, 4, cache=tmp_path)
    calibrate(module, data, 64, 3, cache=tmp_path)
    calibrate(module, data, 64, 4, seed=1, cache=tmp_path)
    calibrate(module, data, 96, 4, cache=tmp_path)
    calibrate(other, data, 64, 4, cache=tmp_path)
    assert len(collected) == 5
    assert len(list(tmp_path.iterdir())) == 5


def test_a_time_limit_ends_early_and_its_count_finds_the_very_same_again(
    module: nn.Module,
    data: DataSummary,
    tmp_path: Path,
    collected: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(statistics_module, "LEAST_IMAGES", 2)
    monkeypatch.setattr(training_loss, "_PIXELS_PER_BATCH", 2 * 64**2)
    limited = calibrate(module, data, 64, 6, cache=tmp_path, limit_s=0.0)
    assert limited.images == 2
    assert_same(calibrate(module, data, 64, 2, cache=tmp_path), limited)
    assert len(collected) == 1
    everything = calibrate(module, data, 64, 6, cache=tmp_path)
    assert everything.images == 6
    (tmp_path / "other").mkdir()
    assert_same(calibrate(module, data, 64, 2, cache=tmp_path / "other"), limited)


def test_more_images_than_there_are_means_all_of_them(
    module: nn.Module, data: DataSummary, tmp_path: Path, collected: list[Any]
) -> None:
    everything = calibrate(module, data, 64, 100, cache=tmp_path)
    assert everything.images == len(data.train) == 6
    assert_same(calibrate(module, data, 64, 6, cache=tmp_path, limit_s=1e9), everything)
    assert len(collected) == 1


def test_fewer_images_are_the_first_ones_of_more(data: DataSummary) -> None:
    many = replace(data, train=tuple(Path(f"{number}.png") for number in range(3000)))
    drawn = sample_images(many, 3000, seed=5)
    assert sorted(drawn) == sorted(many.train)
    for count in (1, 16, 100, 2999):
        assert sample_images(many, count, seed=5) == drawn[:count]
    assert sample_images(many, 16, seed=6) != drawn[:16]


@pytest.mark.parametrize("damage", ["", "half", "another"])
def test_a_damaged_file_is_collected_again_and_replaced(
    module: nn.Module, data: DataSummary, tmp_path: Path, collected: list[Any], damage: str
) -> None:
    first = calibrate(module, data, 64, 2, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    if damage == "another":
        torch.save({"inputs": 3}, file)
    else:
        file.write_bytes(file.read_bytes()[: 5000 if damage else 0])
    assert_same(calibrate(module, data, 64, 2, cache=tmp_path), first)
    assert_same(calibrate(module, data, 64, 2, cache=tmp_path), first)
    assert len(collected) == 2


def test_a_full_disk_costs_the_cache_and_nothing_else(
    module: nn.Module,
    data: DataSummary,
    tmp_path: Path,
    collected: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_content: Any, draft: Path) -> None:
        draft.write_bytes(b"half")
        raise RuntimeError("unexpected pos 64 vs 0")  # torch's words for a full disk

    monkeypatch.setattr(torch, "save", full)
    calibrate(module, data, 64, 2, cache=tmp_path)
    calibrate(module, data, 64, 2, cache=tmp_path)
    assert len(collected) == 2
    assert not list(tmp_path.iterdir())
    calibrate(module, data, 64, 2, cache=Path(os.devnull) / "nowhere")


def test_what_was_not_used_for_longest_goes_first(
    module: nn.Module,
    data: DataSummary,
    tmp_path: Path,
    collected: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calibrate(module, data, 64, 1, cache=tmp_path)
    (first,) = tmp_path.iterdir()
    calibrate(module, data, 64, 2, cache=tmp_path)
    (second,) = set(tmp_path.iterdir()) - {first}
    (tmp_path / "killed.123.part").write_bytes(b"half")
    for age, file in ((300, first), (200, second), (400, tmp_path / "killed.123.part")):
        os.utime(file, (file.stat().st_atime - age,) * 2)
    calibrate(module, data, 64, 1, cache=tmp_path)  # now the first was used last
    assert len(collected) == 2
    monkeypatch.setattr(calibration, "CACHE_BYTES", int(2.5 * first.stat().st_size))
    calibrate(module, data, 64, 3, cache=tmp_path)
    (third,) = set(tmp_path.iterdir()) - {first}
    assert third != second


def test_taylor_scores_come_on_top_and_are_not_kept(
    module: nn.Module, data: DataSummary, tmp_path: Path, collected: list[Any]
) -> None:
    with_taylor = calibrate(module, data, 64, 2, taylor=True, cache=tmp_path)
    assert_same(with_taylor, calibrate(module, data, 64, 2, cache=tmp_path))
    assert len(collected) == 1
    stem = with_taylor.weight_gradients["model.0.conv"]
    assert stem.shape == module.get_submodule("model.0.conv").weight.shape


def test_what_cannot_be_calibrated_is_one_clear_line(
    module: nn.Module, data: DataSummary, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="got 0, expected at least 1"):
        calibrate(module, data, 64, 0, cache=tmp_path)
    for_80 = DetectionModel("yolov8n.yaml", verbose=False)
    with pytest.raises(ConfigError, match=r"data\.yaml: names: got '8 classes', .* 80;.*l2_bn"):
        calibrate(for_80, data, 64, 2, cache=tmp_path)
    broken = DetectionModel("yolov8n.yaml", nc=8, verbose=False)
    with torch.no_grad():
        broken.model[0].bn.weight[0] = torch.nan
    with pytest.raises(ConfigError, match=r"data\.yaml: the loss is not finite"):
        calibrate(broken, data, 64, 2, cache=tmp_path)
    assert not list(tmp_path.iterdir())
