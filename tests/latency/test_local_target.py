import itertools
import os
import platform
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest
import torch
from torch import nn

from autoprune.errors import ConfigError, TrialFailed
from autoprune.latency.export import export_model
from autoprune.latency.local_target import LocalTarget
from autoprune.latency.options import RuntimeOptions, TimingSettings
from tests.latency.tiny_models import write_onnx


def target(tmp_path, program, name="runner.py"):
    """A LocalTarget whose runner is the given program."""
    path = tmp_path / name
    path.write_text(program)
    return LocalTarget(runner_path=path, lock_path=tmp_path / "latency.lock")


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="ORT needs x86 for it")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("runtime", ["onnxruntime", "torch"])
def test_denormal_numbers_are_zero_where_time_is_taken_in_every_thread(tmp_path, runtime, threads):
    net = nn.Sequential(nn.Conv2d(3, 16, 1, bias=False), nn.Conv2d(16, 16, 1, bias=False))
    with torch.no_grad():
        net[0].weight.fill_(1.2e-38)
        net[1].weight.fill_(1e38)
        image = torch.full((1, 3, 128, 128), 0.1)
        assert float(net(image).min()) > 1, "what the first one writes is denormal and counts"
    options = RuntimeOptions(runtime, (128, 128), threads=threads)
    exported = export_model(net, tmp_path / f"net{options.row.suffix}", (128, 128), runtime)
    given, flushed = tmp_path / "given.npy", tmp_path / "flushed.npy"
    np.save(given, image.numpy())
    np.save(flushed, np.zeros((1, 16, 128, 128), dtype=np.float32))
    check = {"model": str(exported.path), "input": str(given), "expected": str(flushed)}
    job = options.as_job() | {"dense": str(exported.path), "candidates": [], "timing": None}
    answer = LocalTarget(lock_path=tmp_path / "latency.lock").run(
        job | {"checks": [check]}, [exported.path, given, flushed], 120.0
    )
    assert answer["checks"][0]["max_abs_diff"] == 0.0


@pytest.mark.parametrize(
    ("program", "reason", "words"),
    [
        ("print('x' * 10_000_000)", "latency", "more than"),
        ("import itertools\nfor _ in itertools.count(): print('x' * 9999)", "latency", "more than"),
        ("print('{]')", "latency", "not JSON"),
        ("print('{\"models\": [NaN]}')", "latency", "NaN"),
        ("pass", "latency", "no answer \\(exit status 0\\)"),
        ("raise SystemExit('my excuse')", "latency", "exit status 1: my excuse"),
        ("import sys; sys.stderr.write('e' * 10_000_000)", "latency", "no answer"),
    ],
)
def test_hostile_output_fails_the_trial(tmp_path, program, reason, words):
    with pytest.raises(TrialFailed, match=words) as caught:
        target(tmp_path, program).run({}, [], 20.0)
    assert caught.value.reason == reason
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGKILL")
def test_a_runner_killed_by_the_system_counts_as_out_of_memory(tmp_path):
    program = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(TrialFailed) as caught:
        target(tmp_path, program).run({}, [], 20.0)
    assert caught.value.reason == "oom"


def test_at_the_limit_the_runner_and_its_children_are_killed(tmp_path):
    program = f"""
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path({str(tmp_path / "child")!r}).write_text(str(child.pid))
time.sleep(600)
"""
    began = time.monotonic()
    with pytest.raises(TrialFailed) as caught:
        target(tmp_path, program).run({}, [], 2.0)
    assert caught.value.reason == "timeout"
    assert time.monotonic() - began < 12
    pid = int((tmp_path / "child").read_text())
    assert _gone(pid)


def test_a_closed_stdout_does_not_outlive_the_limit(tmp_path):
    program = "import os, time; os.close(1); time.sleep(600)"
    with pytest.raises(TrialFailed) as caught:
        target(tmp_path, program).run({}, [], 1.0)
    assert caught.value.reason == "timeout"


def test_the_job_arrives_and_thread_settings_do_not(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    monkeypatch.setenv("KEPT_SETTING", "yes")
    program = """
import json, os, sys
print(json.dumps({"job": json.load(sys.stdin), "seen": dict(os.environ)}))
"""
    answer = target(tmp_path, program).run({"runtime": "torch"}, [], 20.0)
    assert answer["job"] == {"runtime": "torch"}
    assert answer["seen"]["KEPT_SETTING"] == "yes"
    assert not any(name.startswith(("OMP_", "MKL_")) for name in answer["seen"])


def test_only_one_measurement_runs_at_a_time(tmp_path):
    program = """
import json, time
began = time.time()
time.sleep(0.3)
print(json.dumps({"began": began, "ended": time.time()}))
"""
    targets = [target(tmp_path, program) for _ in range(3)]
    spans = []
    threads = [
        threading.Thread(target=lambda each=each: spans.append(each.run({}, [], 20.0)))
        for each in targets
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spans.sort(key=lambda span: span["began"])
    assert len(spans) == 3
    assert all(first["ended"] <= second["began"] for first, second in itertools.pairwise(spans))


def test_a_lock_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    blocked = LocalTarget(lock_path=tmp_path / "file" / "latency.lock")
    with pytest.raises(ConfigError, match="cannot be locked"):
        blocked.run({}, [], 20.0)


def test_a_missing_model_file_is_named(tmp_path):
    with pytest.raises(TrialFailed, match=r"absent\.onnx does not exist"):
        target(tmp_path, "pass").run({}, [tmp_path / "absent.onnx"], 20.0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of it")
def test_the_runner_dies_with_a_search_that_is_killed(tmp_path):
    model = write_onnx(tmp_path / "model.onnx", 1)
    endless = {"least_blocks": 2000, "max_blocks": 2000, "min_s": 600, "cap_s": 600}
    job = {
        **RuntimeOptions("onnxruntime", (32, 32)).as_job(),
        "dense": str(model),
        "candidates": [],
        "timing": {**TimingSettings(block_s=1.0).as_job(), **endless},
        "checks": [],
    }
    program = f"""
import pathlib
from autoprune.latency.options import RuntimeOptions, TimingSettings
from autoprune.latency.local_target import LocalTarget
from tests.latency.tiny_models import write_onnx
target = LocalTarget(lock_path=pathlib.Path({str(tmp_path / "lock")!r}))
target.run({job!r}, [pathlib.Path({str(model)!r})], 600.0)
"""
    search = subprocess.Popen([sys.executable, "-c", program])
    try:
        found = []
        for _ in range(200):
            found = psutil.Process(search.pid).children(recursive=True)
            if found and found[0].cpu_times().user > 0.5:  # beyond its start
                break
            time.sleep(0.1)
    finally:
        search.kill()
        search.wait()
    assert found
    assert _gone(found[0].pid)


def _gone(pid):
    for _ in range(50):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.1)
    return False
