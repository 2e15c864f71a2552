from __future__ import annotations

import math
from pathlib import Path

import psutil
import pytest
import torch

from autoprune.errors import ConfigError
from autoprune.evaluation import device
from autoprune.evaluation.device import (
    LOOK_AGAIN_S,
    available_bytes,
    choose_device,
    container_cores,
    count_idle_cores,
    idle_cores,
)


def test_a_gpu_is_used_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert choose_device() == "cpu"
    assert choose_device("cpu") == "cpu"
    for missing in (0, "0", "cuda", "cuda:0", "0,1", "tpu"):
        with pytest.raises(ConfigError, match="expected one of cpu"):
            choose_device(missing)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device() == "cuda:0"
    assert choose_device("cpu") == "cpu"
    assert [choose_device(wanted) for wanted in (1, "1", "cuda:1")] == ["cuda:1"] * 3
    with pytest.raises(ConfigError, match="expected one of cpu, 0, 1"):
        choose_device(2)


@pytest.mark.parametrize(
    ("loads", "threads"),
    [
        ([0.0, 99.0, 10.0, 0.0], 3),
        ([100.0] * 4, 1),
        ([5.0, 0.0, 3.0, 8.0], 4),
        ([50.0, 50.0, 0.0, 0.0], 3),  # one program that moves between two cores
    ],
)
def test_only_idle_cores_count(
    monkeypatch: pytest.MonkeyPatch, loads: list[float], threads: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval, percpu: loads)
    monkeypatch.setattr(device, "container_cores", lambda: math.inf)
    assert count_idle_cores() == threads


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "250000 100000\n"}, 2.5),
        ({"cpu.max": "50000 100000\n"}, 1.0),
        ({"cpu.max": "max 100000\n"}, math.inf),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ({"cpu.max": "rubbish"}, math.inf),
        ({}, math.inf),
    ],
)
def test_a_containers_limit_is_read(tmp_path: Path, files: dict[str, str], cores: float) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert container_cores(tmp_path) == cores


def test_threads_stay_within_a_containers_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval, percpu: [0.0] * 64)
    monkeypatch.setattr(device, "container_cores", lambda: 2.5)
    assert count_idle_cores() == 2


def test_threads_follow_the_idle_cores_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    idle = iter((3, 1, 2))
    now = [100.0]
    monkeypatch.setattr(device, "count_idle_cores", lambda: next(idle))
    monkeypatch.setattr(device.time, "monotonic", lambda: now[0])
    before = torch.get_num_threads()
    with idle_cores() as use_idle_cores:
        torch.set_num_threads(2)
        use_idle_cores()
        assert torch.get_num_threads() == 3
        now[0] += LOOK_AGAIN_S / 2
        torch.set_num_threads(2)  # as Ultralytics does
        use_idle_cores("the trainer")
        assert torch.get_num_threads() == 3
        now[0] += LOOK_AGAIN_S / 2
        use_idle_cores()
        assert torch.get_num_threads() == 1
        now[0] += LOOK_AGAIN_S
        use_idle_cores()
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == before


def test_a_process_that_was_given_threads_looks_for_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(device, "_lent", [])
    monkeypatch.setattr(device, "count_idle_cores", lambda: 7)
    try:
        device.use_threads(1)
        with device.idle_cores() as use:
            use()
            assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_memory_left_is_a_containers_where_that_is_less(tmp_path: Path) -> None:
    whole = psutil.virtual_memory().total
    assert 0 < available_bytes(tmp_path) <= whole
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("90000000\n")
    assert available_bytes(tmp_path) > 10**8
    (tmp_path / "memory.max").write_text("100000000\n")
    (tmp_path / "memory.stat").write_text("anon 40000000\ninactive_file 5000000\n")
    assert available_bytes(tmp_path) == 15_000_000
    old = tmp_path / "old" / "memory"
    old.mkdir(parents=True)
    (old / "memory.limit_in_bytes").write_text("100000000\n")
    (old / "memory.usage_in_bytes").write_text("70000000\n")
    (old / "memory.stat").write_text("total_inactive_file 1000000\n")
    assert available_bytes(old.parent) == 31_000_000
