from __future__ import annotations

import psutil
import pytest
import torch

from autoprune.errors import ConfigError
from autoprune.evaluation.device import choose_device, count_idle_cores, idle_cores


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


def test_threads_go_to_idle_cores_only_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    loads = [0.0, 99.0, 10.0, 0.0]
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval, percpu: loads)
    assert count_idle_cores() == 3
    before = torch.get_num_threads()
    monkeypatch.setattr("autoprune.evaluation.device.count_idle_cores", count_idle_cores)
    with idle_cores() as use_idle_cores:
        torch.set_num_threads(2)
        use_idle_cores()
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == before
    loads[:] = [100.0] * 4
    assert count_idle_cores() == 1
