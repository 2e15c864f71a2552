import ast
import itertools
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from autoprune.latency import runner
from tests.latency.tiny_models import write_onnx

TIMING = {
    "warmup_s": 0.01,
    "block_s": 0.002,
    "min_blocks": 10,
    "max_blocks": 60,
    "min_s": 0.0,
    "cap_s": 5.0,
    "half_width": 0.02,
    "least_blocks": 2,
}


@pytest.fixture(autouse=True)
def _denormals_as_before():
    """A job that runs in this process flushes them, here and in every later test."""
    yield
    torch.set_flush_denormal(False)


class Clockwork:
    """A model of given run times that notes when it ran."""

    def __init__(self, name, times, diary):
        self.name, self.times, self.diary = name, itertools.cycle(times), diary
        self.single_threaded = True

    def timed_run(self):
        self.diary.append(self.name)
        spent = next(self.times)
        return spent, spent


def job(dense, *candidates, **changes):
    return {
        "runtime": "onnxruntime",
        "provider": "CPUExecutionProvider",
        "threads": 1,
        "imgsz": [32, 32],
        "batch": 1,
        "channels_last": False,
        "dense": str(dense),
        "candidates": [str(path) for path in candidates],
        "timing": TIMING,
        "checks": [],
        **changes,
    }


def test_runner_needs_neither_autoprune_nor_a_newer_python_than_3_9():
    tree = ast.parse(Path(runner.__file__).read_text(), feature_version=(3, 9))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module.split(".")[0])
    assert imported - {"numpy", "__future__"} <= sys.stdlib_module_names


def test_models_are_timed_in_blocks_there_and_back():
    diary = []
    models = [Clockwork(name, [0.001], diary) for name in "AB"]
    times, stopped = runner.time_models(models, TIMING)
    assert stopped == "tight"
    runs, blocks = len(times[0]["wall_ms"][0]), len(times[0]["wall_ms"])
    assert runs >= 3
    order = "".join(name for name, group in itertools.groupby(diary) for _ in group)
    measured = order[-blocks * 2 * runs :]
    abba = "A" * runs + "B" * 2 * runs + "A" * runs
    assert measured == abba * (blocks // 2)
    assert [len(model["wall_ms"]) for model in times] == [10, 10]


def test_timing_goes_on_until_the_interval_is_tight_or_the_blocks_run_out():
    rng = np.random.default_rng(0)
    noisy = [Clockwork(name, rng.uniform(0.001, 0.003, 997), []) for name in "AB"]
    times, stopped = runner.time_models(noisy, {**TIMING, "half_width": 1e-6})
    assert stopped == "max_blocks"
    assert len(times[0]["wall_ms"]) >= 60


def test_timing_stops_at_the_cap():
    models = [Clockwork(name, [0.001], []) for name in "AB"]
    times, stopped = runner.time_models(models, {**TIMING, "cap_s": 0.0})
    assert stopped == "cap"
    assert len(times[1]["wall_ms"]) == 2
    least = {**TIMING, "cap_s": 0.0, "least_blocks": 8}
    times, stopped = runner.time_models(models, least)
    assert (stopped, len(times[1]["wall_ms"])) == ("cap", 8)


def test_a_slow_first_run_as_of_a_gpu_that_chooses_kernels_is_no_part_of_the_measurement(
    monkeypatch,
):
    now = [0.0]

    class FirstSlow:
        single_threaded = False

        def __init__(self):
            self.next_s = 30.0

        def timed_run(self):
            spent, self.next_s = self.next_s, 0.001
            now[0] += spent
            return spent, 0.0

    monkeypatch.setattr(runner.time, "perf_counter", lambda: now[0])
    times, stopped = runner.time_models([FirstSlow(), FirstSlow()], TIMING, FirstSlow())
    assert stopped == "tight", "the cap of 5 s does not hold the 90 s of the first runs"
    assert max(map(max, times[0]["wall_ms"])) == pytest.approx(1.0)


def test_blocks_are_as_long_as_wall_time_says_where_processor_time_does_not_count():
    class Waiting:  # as a GPU's provider that sleeps until the GPU is done
        single_threaded = False

        def timed_run(self):
            return 0.01, 0.00001

    times, _ = runner.time_models([Waiting()], {**TIMING, "block_s": 0.03, "cap_s": 0.0})
    assert len(times[0]["wall_ms"][0]) == 3


def test_processor_time_counts_only_when_one_thread_does_the_work():
    alone, many = Clockwork("A", [0.001], []), Clockwork("B", [0.001], [])
    many.single_threaded = False
    times, _ = runner.time_models([alone, many], TIMING)
    assert times[1]["cpu_ms"] is None
    assert runner.counted_ms([[6.0, 10.0]], [[6.5, 6.1]]).tolist() == [[6.0, 6.1]]


def test_a_heavier_model_is_found_slower(tmp_path):
    light, heavy = write_onnx(tmp_path / "a.onnx", 2), write_onnx(tmp_path / "b.onnx", 8)
    result = runner.run_job(job(light, heavy))
    light_ms, heavy_ms = (runner.counted_ms(**model) for model in result["models"])
    assert np.exp(runner.log_interval(heavy_ms, light_ms)[1]) > 1.5
    assert result["providers"] == ["CPUExecutionProvider"]


def test_several_threads_are_given_to_the_runtime(tmp_path):
    path = write_onnx(tmp_path / "a.onnx", 2)
    result = runner.run_job(job(path, threads=2))
    assert result["threads"] == 2
    assert result["models"][0]["cpu_ms"] is None


def test_a_drift_of_scores_is_not_hidden_by_the_size_of_boxes(tmp_path):
    expected = np.concatenate([np.full((1, 4, 9), 500.0), np.full((1, 3, 9), 0.5)], axis=1)
    drifted = expected.copy()
    drifted[0, 5, 3] += 0.01
    drifted[0, 1, 3] += 0.05
    np.save(tmp_path / "in.npy", np.zeros((1, 3, 8, 8), np.float32))
    np.save(tmp_path / "out.npy", expected)
    model = SimpleNamespace(output=lambda image: drifted)
    check = runner.check_output(model, tmp_path / "in.npy", tmp_path / "out.npy")
    assert check["max_abs_diff"] == pytest.approx(0.05)
    assert check["max_rel_diff"] == pytest.approx(0.01)


def test_low_precision_is_judged_by_each_channels_spread(tmp_path):
    rng = np.random.default_rng(0)
    expected = np.concatenate([rng.normal(300, 100, (1, 4, 999)), np.full((1, 3, 999), 1e-4)], 1)
    expected[0, 4, :9] = 0.9  # a few objects of one class, none of the others
    np.save(tmp_path / "in.npy", np.zeros((1, 3, 8, 8), np.float32))
    np.save(tmp_path / "out.npy", expected)

    def spread_diff(got):
        model = SimpleNamespace(output=lambda image: got)
        return runner.check_output(model, tmp_path / "in.npy", tmp_path / "out.npy")["spread_diff"]

    coarse = expected + rng.normal(0, 1, expected.shape) * [[[5.0]] * 4 + [[0.002]] * 3]
    assert 0.05 < spread_diff(coarse) < 0.3
    lost = expected.copy()
    lost[0, 4] = 1e-4
    assert spread_diff(lost) > 0.9, "the objects are gone"


def test_objects_are_compared_whatever_their_order_and_which_is_last(tmp_path):
    rng = np.random.default_rng(0)
    scores = np.sort(rng.random(20) * 1e-4)[::-1]  # of noise
    expected = np.hstack([rng.random((20, 4)) * 64, scores[:, None], rng.integers(0, 3, (20, 1))])
    got = expected.copy()
    got[[3, 4]] = got[[4, 3]]
    got[-1, :4] = 7.0  # another place with the same score
    np.save(tmp_path / "in.npy", np.zeros((1, 3, 8, 8), np.float32))
    np.save(tmp_path / "out.npy", expected[None])
    files = tmp_path / "in.npy", tmp_path / "out.npy"
    same = SimpleNamespace(output=lambda image: got[None])
    assert runner.check_output(same, *files, rows=True)["max_rel_diff"] < 1e-9
    assert runner.check_output(same, *files)["max_rel_diff"] > 0.01
    equal = expected.copy()
    equal[:, 4] = 0.5
    np.save(tmp_path / "out.npy", equal[None])
    shuffled = SimpleNamespace(output=lambda image: equal[None, ::-1])
    assert runner.check_output(shuffled, *files, rows=True)["max_rel_diff"] == 0.0
    np.save(tmp_path / "out.npy", expected[None])
    wrong = got.copy()
    wrong[7, 0] += 3.0
    found = runner.check_output(
        SimpleNamespace(output=lambda image: wrong[None]), *files, rows=True
    )
    assert found["max_rel_diff"] > 0.01
    assert found["problem"] is None


def test_a_further_output_is_compared_with_its_own_file(tmp_path):
    np.save(tmp_path / "in.npy", np.zeros((1, 3, 8, 8), np.float32))
    np.save(tmp_path / "out.npy", np.ones((1, 2, 3)))
    model = SimpleNamespace(output=lambda image, number=0: np.full((1, 2, 3), float(number)))
    files = tmp_path / "in.npy", tmp_path / "out.npy"
    assert runner.check_output(model, *files, 1)["max_abs_diff"] == 0.0
    assert runner.check_output(model, *files)["max_abs_diff"] == 1.0


@pytest.mark.parametrize(
    ("got", "problem"),
    [(np.full((1, 2, 3), np.nan), "nan"), (np.zeros((1, 2, 4)), "shape")],
)
def test_outputs_that_cannot_be_compared_are_a_problem(tmp_path, got, problem):
    np.save(tmp_path / "in.npy", np.zeros((1, 3, 8, 8), np.float32))
    np.save(tmp_path / "out.npy", np.zeros((1, 2, 3)))
    model = SimpleNamespace(output=lambda image: got)
    check = runner.check_output(model, tmp_path / "in.npy", tmp_path / "out.npy")
    assert problem in check["problem"]


def test_a_provider_that_is_not_there_is_refused_by_name(tmp_path):
    path = write_onnx(tmp_path / "a.onnx", 1)
    error = runner.answer(json.dumps(job(path, provider="NoSuchExecutionProvider")))["error"]
    assert error["kind"] == "provider"
    assert "NoSuchExecutionProvider" in error["message"]
    assert "CPUExecutionProvider" in error["message"]


def test_a_silent_fallback_to_another_provider_is_refused(tmp_path, monkeypatch):
    import onnxruntime

    path = write_onnx(tmp_path / "a.onnx", 1)
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime,
        "get_available_providers",
        lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda path, sess_options, providers: real(
            path, sess_options, providers=["CPUExecutionProvider"]
        ),
    )
    error = runner.answer(json.dumps(job(path, provider="CUDAExecutionProvider")))["error"]
    assert error["kind"] == "provider"
    assert "asked for CUDAExecutionProvider, but in use: CPUExecutionProvider" in error["message"]


def test_cudas_libraries_that_pip_installed_are_loaded_for_a_gpus_provider_alone(
    tmp_path, monkeypatch
):
    import onnxruntime

    path, loaded = write_onnx(tmp_path / "a.onnx", 1), []
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: loaded.append(1), raising=False)
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    runner.answer(json.dumps(job(path)))
    assert loaded == []
    runner.answer(json.dumps(job(path, provider="CUDAExecutionProvider")))
    assert loaded


def test_tensorrt_is_told_the_precision_and_where_it_keeps_its_timings(tmp_path, monkeypatch):
    import onnxruntime

    asked = []

    def session(path, sess_options, providers):
        asked.append(providers)
        raise OSError("no such engine")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    name = "TensorrtExecutionProvider"
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [name])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    path = write_onnx(tmp_path / "a.onnx", 1)
    for precision, half in (("fp16", "1"), ("fp32", "0")):
        trt = {"runtime": "tensorrt", "provider": name, "precision": precision}
        assert runner.answer(json.dumps(job(path, **trt)))["error"]["kind"] == "model"
        ((provider, options),) = asked.pop()
        assert (provider, options["trt_fp16_enable"]) == (name, half)
        assert Path(options["trt_timing_cache_path"]).is_dir()


@pytest.mark.parametrize(
    ("visible", "provider", "index"),
    [
        (None, "cuda:1", "1"),
        ("3,GPU-8a", "cuda:0", "3"),
        ("3,GPU-8a", "cuda:1", "GPU-8a"),
        ("", "CUDAExecutionProvider", "0"),
        ("2", "TensorrtExecutionProvider", "2"),
    ],
)
def test_the_card_is_the_one_that_cuda_means(tmp_path, monkeypatch, visible, provider, index):
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\nfor last; do :; done\necho "card $last"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert runner.gpu_name(provider) == f"card {index}"
    for other in ("CPUExecutionProvider", "cpu", "GPU", "CPU", "OpenVINOExecutionProvider"):
        assert runner.gpu_name(other) is None, "an NVIDIA card beside it computes nothing"


def test_a_missing_runtime_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    error = runner.answer(json.dumps(job(tmp_path / "a.onnx")))["error"]
    assert error["kind"] == "runtime"
    assert error["message"].startswith("target has no onnxruntime: pip install onnxruntime there (")


@pytest.mark.parametrize("content", [b"", b"not a model"])
def test_a_broken_model_file_is_an_error_of_the_model(tmp_path, content):
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    error = runner.answer(json.dumps(job(path)))["error"]
    assert error["kind"] == "model"
    assert "a.onnx" in error["message"]
    assert "\n" not in error["message"]


def test_a_job_without_its_fields_is_answered_with_an_error():
    assert runner.answer("{}")["error"]["kind"] == "job"


@pytest.mark.parametrize(
    ("flags", "int8"),
    [
        ({"avx512f", "avx512_vnni"}, "avx512_vnni"),
        ({"avx2", "avx_vnni"}, "avx_vnni"),
        ({"asimd", "asimddp"}, "asimddp"),
        ({"avx2", "avx512f"}, ""),
    ],
)
def test_instructions_for_products_of_8_bits_are_named(flags, int8):
    assert runner._int8(flags) == int8


@pytest.mark.parametrize(
    ("flags", "isa"),
    [({"avx", "avx2", "avx512f"}, "avx512"), ({"avx", "avx2"}, "avx2"), ({"asimd"}, "neon")],
)
def test_the_widest_vector_extension_is_named(flags, isa):
    assert runner._isa(flags) == isa


def test_a_second_copy_of_the_reference_runs_every_second_of_its_blocks():
    diary = []
    models = [Clockwork(name, [0.001], diary) for name in "AB"]
    times, _ = runner.time_models(models, TIMING, Clockwork("a", [0.001], diary))
    order = "".join(name for name, _ in itertools.groupby(diary))
    assert order.endswith("ABa" * 5)
    assert [len(model["wall_ms"]) for model in times] == [10, 10]


def test_what_differs_between_the_copies_of_the_reference_cancels():
    dense = np.array([[10.0] * 5, [12.0] * 5] * 8)
    value, low, high = runner.log_interval(np.full((16, 5), 10.0), dense)
    assert value == pytest.approx(-np.log(1.2) / 2)
    assert low == pytest.approx(value)
    assert high == pytest.approx(value)
