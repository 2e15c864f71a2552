"""Times models on the machine it runs on: one JSON job on stdin, one JSON answer on stdout.

A stand-alone program: it is copied to devices, so it imports nothing of autoprune and needs only
Python >= 3.9, numpy and the runtime asked for. Everything but the answer goes to stderr.

Job (paths as this machine sees them, `_s` in seconds):
    runtime          "onnxruntime", "onnxruntime-int8" or "tensorrt" (.onnx files), "torch" (.pt2
                     files, run eagerly), or the name of another that comes with a loader
    packages         optional: modules that must import here
    loader           optional: path of a Python file whose `load(path, job)` returns a model as the
                     classes below do: version, provider, providers (the one in use first),
                     single_threaded, output(image) and timed_run(). An exception of its may have
                     the attribute `kind`, one of those of RunnerError
    provider         ONNX Runtime's execution provider, or torch's device ("cpu", "cuda", "cuda:1")
    precision        optional: what it computes in, "fp32" by default, "fp16" or "bf16"
    threads          threads inside one operator; operators run one after another
    imgsz, batch     [height, width] in pixels; images per run
    channels_last    torch only
    dense            path of the reference model
    candidates       paths of the models compared with it; empty: the reference is timed alone
    timing           null: outputs are checked only. Otherwise warmup_s, block_s, min_blocks,
                     max_blocks, min_s, cap_s, half_width (relative, of the 95 % interval),
                     least_blocks: timed even beyond cap_s, for slow models, and
                     burden_s: busy seconds added to every run of a candidate, to test the timing
    checks           list of {model, input, expected, output, rows}: .npy files, compared with the
                     model's output of that number, by default 0; see check_output

Answer: {"runner_version", "error": {"kind", "message"}}, or the fields of `run_job`.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import json
import math
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

RUNNER_VERSION = 5  # also grows when exported files change, as their times are not comparable
PARENT_VARIABLE = "AUTOPRUNE_PARENT"
# Variables that change how many threads a runtime uses, or where they are pinned: whoever starts
# the runner leaves them out. Importing Ultralytics sets some of them in our own process.
SCRUBBED_VARIABLES = (
    "OMP_",
    "KMP_",
    "GOMP_",
    "MKL_",
    "OPENBLAS_",
    "BLIS_",
    "VECLIB_",
    "NUMEXPR_",
    "ORT_",
    "CUBLAS_",
)
_PR_SET_PDEATHSIG = 1
MAX_RUNS_PER_BLOCK = 50  # bounds the size of the answer for models of microseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    Array = np.ndarray[Any, Any]
    Blocks = Sequence[Sequence[float]]
    Job = dict[str, Any]

_BLOCK_QUANTILE = 0.25
_RESAMPLES = 1000
_T_95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)
"""Student's t for a 95 % interval with 1, 2, .. degrees of freedom."""
_UNKNOWN = 0.5  # half-width, on the log scale, of what was seen once
_LEAST_SPREAD = 0.01  # of a channel's largest value
_FEWEST_RUNS = 3  # the quantile of a block needs a choice; very slow models do without
_TENSORRT = "TensorrtExecutionProvider"
_NEEDED = {  # what a provider of ONNX Runtime takes
    "CUDAExecutionProvider": " (it takes NVIDIA's driver and onnxruntime-gpu)",
    _TENSORRT: " (it takes NVIDIA's driver, TensorRT and onnxruntime-gpu)",
}
_TORCH_DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}


_KINDS = ("job", "runtime", "provider", "precision", "model", "memory")


class RunnerError(Exception):
    """The job cannot be done; `kind` says why: one of _KINDS."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


# -- the arithmetic that the stopping rule and the reported result share -----------------------


def counted_ms(wall_ms: Blocks, cpu_ms: Blocks | None) -> Array:
    """The times that count: a run's time on the processor where known, else its wall time.

    One thread on an idle core spends both alike. On a shared core a run also waits for its turn,
    in slices of some 4 ms: at a load of 4-5 on 2 cores, the ratio of two 6 ms models scattered
    by 3-15 % between 3 s measurements on wall times, by 0.3-0.7 % on these.
    """
    wall = np.asarray(wall_ms, dtype=np.float64)
    return wall if cpu_ms is None else np.minimum(wall, np.asarray(cpu_ms, dtype=np.float64))


def block_times(blocks: Array) -> Array:
    """One steady time per block of runs, (blocks, runs) -> (blocks,): its 25 % quantile.

    Other programs only ever add time, so low quantiles are steadier than means and medians.
    """
    return np.asarray(np.quantile(blocks, _BLOCK_QUANTILE, axis=1))


def median_interval(values: Array) -> tuple[float, float, float]:
    """Median of one value per block and its 95 % bootstrap interval: (median, low, high).

    Whole blocks are resampled, not runs: runs of one block share its weather. A few values hold
    too little for that; then the interval is at least Student's for their mean.
    """
    picks = np.random.default_rng(0).integers(0, len(values), (_RESAMPLES, len(values)))
    low, high = np.quantile(np.median(values[picks], axis=1), (0.025, 0.975))
    middle, spread = float(np.median(values)), 0.0
    if len(values) == 1:
        spread = _UNKNOWN
    elif len(values) <= len(_T_95):
        error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
        spread = min(_UNKNOWN, _T_95[len(values) - 2] * error)
    return middle, min(float(low), middle - spread), max(float(high), middle + spread)


def log_interval(blocks: Array, dense_blocks: Array | None) -> tuple[float, float, float]:
    """(estimate, low, high) of log(ratio to dense), or of log(time) without `dense_blocks`.

    The ratio is taken inside each pair of neighbouring blocks, which cancels whatever slows both
    models. Pairs run AB, BA in turn, and two neighbouring ones are averaged: that cancels a drift,
    and what differs between the two copies of the reference.
    """
    values = np.log(block_times(blocks))
    if dense_blocks is not None:
        values = values - np.log(block_times(dense_blocks))
        if len(values) > 1:
            values = (values[: len(values) // 2 * 2]).reshape(-1, 2).mean(axis=1)
    return median_interval(values)


# -- timing ------------------------------------------------------------------------------------


class _Stopwatch:
    """Runs one model, or copies of it in turn, and keeps its times, block by block."""

    def __init__(self, *copies: Any) -> None:
        self.copies = copies
        self.wall_ms: list[list[float]] = []
        self.cpu_ms: list[list[float]] = []

    def block(self, runs: int) -> None:
        """Time `runs` runs as one block."""
        model = self.copies[len(self.wall_ms) % len(self.copies)]
        times = [model.timed_run() for _ in range(runs)]
        self.wall_ms.append([round(wall * 1e3, 5) for wall, _ in times])
        self.cpu_ms.append([round(cpu * 1e3, 5) for _, cpu in times])

    def cpu_counts(self) -> bool:
        """Whether processor time stands for the model's time.

        Not with several threads (it sums over them), on a GPU, on Windows (15 ms ticks), or
        when it read zero.
        """
        single = self.copies[0].single_threaded and platform.system() != "Windows"
        return single and all(time_ms > 0 for block in self.cpu_ms for time_ms in block)

    def answer(self) -> dict[str, Any]:
        """The times as they go into the answer."""
        return {"wall_ms": self.wall_ms, "cpu_ms": self.cpu_ms if self.cpu_counts() else None}

    def counted(self) -> Array:
        """See `counted_ms`."""
        return counted_ms(self.wall_ms, self.cpu_ms if self.cpu_counts() else None)


class _Burdened:
    """A model that takes a known time longer: it keeps the core busy after every run."""

    def __init__(self, model: Any, burden_s: float) -> None:
        self.model, self.burden_s = model, burden_s
        self.single_threaded: bool = model.single_threaded

    def timed_run(self) -> tuple[float, float]:
        """(wall, processor) seconds of the model and of the burden together."""
        wall, busy = self.model.timed_run()
        began, busy_began = time.perf_counter(), time.thread_time()
        while time.thread_time() - busy_began < self.burden_s:
            pass
        return (
            wall + time.perf_counter() - began,
            busy + time.thread_time() - busy_began,
        )


def time_models(
    models: list[Any], timing: dict[str, Any], reference_again: Any = None
) -> tuple[list[dict[str, Any]], str]:
    """Time models in blocks, forwards and backwards in turn (ABBA); the first is the reference.

    Where a process puts a model in memory changes its time: of two copies of one model the one
    loaded later was faster by 0.6 %. `reference_again`, a copy of the reference loaded after all
    others, runs every second block of the reference; that halves the error.

    Returns:
        Per model its times in ms, and why it stopped: "tight", "max_blocks" or "cap".
    """
    # A GPU's first run chooses kernels, for seconds: that is neither a time nor a part of the cap.
    for model in [*models, *([] if reference_again is None else [reference_again])]:
        model.timed_run()
    deadline = time.perf_counter() + timing["cap_s"]
    best_s, *_ = [_warm_up(model, timing["warmup_s"], deadline) for model in models]
    fewest = _FEWEST_RUNS if best_s < timing["block_s"] * 10 else 1
    runs = min(MAX_RUNS_PER_BLOCK, max(fewest, round(timing["block_s"] / max(best_s, 1e-6))))
    watches = [_Stopwatch(model) for model in models]
    if reference_again is not None:
        _warm_up(reference_again, timing["warmup_s"], deadline)
        watches[0] = _Stopwatch(models[0], reference_again)
    began = time.perf_counter()
    check_at = timing["min_blocks"]
    gc.disable()
    while True:
        for watch in [*watches, *reversed(watches)]:
            watch.block(runs)
        blocks, now = len(watches[0].wall_ms), time.perf_counter()
        if now >= deadline and blocks >= timing["least_blocks"]:
            stopped = "cap"
            break
        if blocks >= check_at and now - began >= timing["min_s"]:
            if _half_width(watches) <= timing["half_width"]:
                stopped = "tight"
                break
            if blocks >= timing["max_blocks"]:
                stopped = "max_blocks"
                break
            # Looking seldom keeps a lucky moment from ending it. What the look pushed out of the
            # caches would slow the next block, always the reference's: -1 % for 15 ms models.
            check_at = blocks * 1.15
            models[0].timed_run()
    return [watch.answer() for watch in watches], stopped


def _half_width(watches: list[_Stopwatch]) -> float:
    """Relative half-width of the widest interval: of each ratio, or of the lone dense time."""
    dense = watches[0].counted()
    if len(watches) == 1:
        intervals = [log_interval(dense, None)]
    else:
        intervals = [log_interval(watch.counted(), dense) for watch in watches[1:]]
    return max((high - low) / 2 for _, low, high in intervals)


def _warm_up(model: Any, seconds: float, deadline: float) -> float:
    """Run for `seconds` and at least twice; the fastest run in seconds."""
    began = time.perf_counter()
    best = math.inf
    for count in range(10_000):
        now = time.perf_counter()
        if count and (now >= deadline or (count >= 2 and now - began >= seconds)):
            break
        wall, busy = model.timed_run()
        best = min(best, busy) if model.single_threaded and busy > 0 else min(best, wall)
    return best


# -- the runtimes that need no loader of their own ---------------------------------------------


class OnnxModel:
    """A model in ONNX Runtime."""

    def __init__(self, path: str, job: Job) -> None:
        onnxruntime = _import("onnxruntime")
        self.version: str = onnxruntime.__version__
        self.provider: str = job["provider"]
        self.single_threaded = self.provider == "CPUExecutionProvider" and job["threads"] == 1
        _refuse_provider(self.provider, onnxruntime.get_available_providers(), "available")
        if gpu_of(self.provider) is not None and hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()  # CUDA's libraries that pip installed, as torch's are
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = job["threads"]
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        # With several threads, a session's workers keep spinning for a while after its run and
        # would take cores from the other session's block. Spinning inside a run stays on, as it
        # is where the model is deployed; it ends when the run returns.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        # Many CPUs compute denormal numbers far slower, and latency would depend on more than
        # shapes. On x86 only; of this thread the first session of a process decides, ours do alike.
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        try:
            self._session = onnxruntime.InferenceSession(
                path, sess_options=options, providers=[(self.provider, _provider_options(job))]
            )
        except Exception as error:
            raise RunnerError("model", f"{path}: ONNX Runtime cannot load it: {error}") from None
        self.providers: list[str] = self._session.get_providers()
        _refuse_provider(self.provider, self.providers[:1], "in use")
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in _DTYPES or len(inputs[0].shape) != 4:
            shown = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
            raise RunnerError("model", f"{path}: expected one image input, got {shown}")
        self._name, self._dtype = inputs[0].name, _DTYPES[inputs[0].type]
        channels = inputs[0].shape[1] if isinstance(inputs[0].shape[1], int) else 3
        self._feed = {self._name: _test_image(job, channels).astype(self._dtype)}

    def output(self, image: Array, number: int = 0) -> Array:
        """One output for `image` (batch, channels, height, width), by default the first."""
        return np.asarray(self._session.run(None, {self._name: image.astype(self._dtype)})[number])

    def timed_run(self) -> tuple[float, float]:
        """(wall, processor) seconds of one forward pass; on a GPU with the copies to and fro."""
        busy, began = time.process_time(), time.perf_counter()
        self._session.run(None, self._feed)
        return time.perf_counter() - began, time.process_time() - busy


class TorchModel:
    """A `torch.export` program run eagerly."""

    def __init__(self, path: str, job: Job) -> None:
        torch = _import("torch")
        self._torch = torch
        self.version: str = torch.__version__
        self.provider: str = job["provider"]
        self.providers = [self.provider]
        self.single_threaded = self.provider == "cpu" and job["threads"] == 1
        cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
        _refuse_provider(self.provider, ["cpu", *(["cuda", *cuda] if cuda else [])], "available")
        self._dtype = getattr(torch, _TORCH_DTYPES[job.get("precision", "fp32")])
        if self.provider == "cpu":  # before torch's threads start: they inherit it from this one
            torch.set_flush_denormal(True)
        torch.set_num_threads(job["threads"])
        if self.provider != "cpu":  # events and streams are those of the current device
            torch.cuda.set_device(torch.device(self.provider))
        self._layout = torch.channels_last if job.get("channels_last") else torch.contiguous_format
        try:
            program = torch.export.load(path)
            if self.provider != "cpu":
                passes = __import__("torch.export.passes", fromlist=["move_to_device_pass"])
                program = passes.move_to_device_pass(program, self.provider)
            self._module = program.module().to(memory_format=self._layout)
            if self._dtype != torch.float32:
                self._module = self._module.to(self._dtype)
            channels = program.example_inputs[0][0].shape[1]
        except Exception as error:
            raise RunnerError("model", f"{path}: torch cannot load it: {error}") from None
        self._image = self._tensor(_test_image(job, channels))

    def output(self, image: Array, number: int = 0) -> Array:
        """One output for `image` (batch, channels, height, width), by default the first."""
        with self._torch.inference_mode():
            result = self._module(self._tensor(image))
        one = result[number] if isinstance(result, (tuple, list)) else result
        return np.asarray(one.float().cpu().numpy())

    def timed_run(self) -> tuple[float, float]:
        """(wall, processor) seconds of one forward pass; on CUDA the time between two events."""
        with self._torch.inference_mode():
            if self.provider != "cpu":
                begin, end = (self._torch.cuda.Event(enable_timing=True) for _ in range(2))
                begin.record()
                self._module(self._image)
                end.record()
                end.synchronize()
                return begin.elapsed_time(end) / 1e3, 0.0
            busy, began = time.process_time(), time.perf_counter()
            self._module(self._image)
            return time.perf_counter() - began, time.process_time() - busy

    def _tensor(self, image: Array) -> Any:
        tensor = self._torch.from_numpy(image).to(self.provider, self._dtype)
        return tensor.contiguous(memory_format=self._layout)


RUNTIMES: dict[str, Any] = {
    "onnxruntime": OnnxModel,
    "onnxruntime-int8": OnnxModel,
    "tensorrt": OnnxModel,
    "torch": TorchModel,
}


REPORTER = "openvino_telemetry"  # of OpenVINO and NNCF
SILENT = "ORT_DISABLE_TELEMETRY"  # of ONNX Runtime, since 1.29 on Linux too


def unreported(name: str) -> Any:
    """Import a runtime so that it does not report its use to its makers.

    Else the import alone gives this user a number, kept in the home folder, and what is run is
    sent: by ONNX Runtime the names and hashes of graphs and weights among others.
    """
    os.environ[SILENT] = "1"
    modules: dict[str, Any] = sys.modules
    before = modules.get(REPORTER)
    modules[REPORTER] = None  # what asks for it gets an ImportError
    try:
        return importlib.import_module(name)
    finally:
        if before is None:
            del modules[REPORTER]
        else:
            modules[REPORTER] = before


def _provider_options(job: Job) -> dict[str, str]:
    """TensorRT's: half precision where asked for, and a file that makes the next engines quick."""
    if job["provider"] != _TENSORRT:
        return {}
    options = {"trt_fp16_enable": "1" if job.get("precision") == "fp16" else "0"}
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = os.path.join(cache, "autoprune", "tensorrt")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError:
        return options
    return {**options, "trt_timing_cache_enable": "1", "trt_timing_cache_path": folder}


def _import(module: str) -> Any:
    try:
        return unreported(module)
    except ImportError as error:
        message = f"target has no {module}: pip install {module} there ({sys.executable}: {error})"
        raise RunnerError("runtime", message) from None


def loader_of(job: Job) -> Any:
    """(path, job) -> model, for the job's runtime.

    Raises:
        RunnerError: No such runtime, a package that is not here, or a broken loader.
    """
    for package in job.get("packages") or ():
        _import(package)
    path = job.get("loader")
    if path is None:
        if job["runtime"] not in RUNTIMES:
            message = f"runtime {job['runtime']!r} is none of {', '.join(RUNTIMES)}"
            raise RunnerError("job", message)
        return RUNTIMES[job["runtime"]]
    try:
        spec: Any = importlib.util.spec_from_file_location("autoprune_loader", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        own = module.load
    except Exception as error:
        message = f"the loader of runtime {job['runtime']} fails: {type(error).__name__}: {error}"
        raise RunnerError("runtime", message) from None

    def load(path: str, job: Job) -> Any:
        model = own(path, job)
        _refuse_provider(job["provider"], list(model.providers[:1]), "in use")
        return model

    return load


def _refuse_provider(asked: str, names: list[str], what: str) -> None:
    """A silent fallback would time another device than the one asked for."""
    if asked not in names:
        needed = _NEEDED.get(asked, "")
        raise RunnerError("provider", f"asked for {asked}, but {what}: {', '.join(names)}{needed}")


def _test_image(job: Job, channels: int) -> Array:
    shape = (job["batch"], channels, *job["imgsz"])
    return np.random.default_rng(0).random(shape, dtype=np.float32)


# -- output check ------------------------------------------------------------------------------


def check_output(
    model: Any, input_path: str, expected_path: str, number: int = 0, rows: bool = False
) -> dict[str, Any]:
    """Compare one of a model's outputs, by default the first, with the expected one.

    `max_rel_diff` is relative to the largest expected value of the same channel (axis 1), at
    least 1: pixels to the size of the boxes, scores as they are. With `rows` the output is a list
    of objects (1, n, 6 and more), the best n by their score (the fifth number): their order, and
    which of the last ones are among them, may differ between two sums of the same numbers.

    `spread_diff` is for numbers of low precision: the root mean square of the difference over the
    standard deviation of what is expected in the channel, at least 1 % of the above scale; of the
    worst channel. With `rows`, of the scores alone.
    """
    expected = np.load(expected_path, allow_pickle=False).astype(np.float64)
    image = np.load(input_path, allow_pickle=False)
    got = (model.output(image, number) if number else model.output(image)).astype(np.float64)
    if got.shape != expected.shape:
        problem = f"the output's shape is {list(got.shape)}, expected {list(expected.shape)}"
        return _incomparable(problem)
    if not np.isfinite(got).all():
        return _incomparable("the output is nan or inf")
    if rows:
        spread_diff = _spread_diff(got[:, None, :, 4], expected[:, None, :, 4])
        got, expected = _matched(got, expected)
    else:
        spread_diff = _spread_diff(got, expected)
    axes = tuple(axis for axis in range(expected.ndim) if axis != 1)
    diff = np.abs(got - expected)
    scale = np.maximum(1.0, np.abs(expected).max(axis=axes, keepdims=True))
    return {
        "max_abs_diff": float(diff.max()),
        "max_rel_diff": float((diff / scale).max()),
        "spread_diff": spread_diff,
        "problem": None,
    }


def _incomparable(problem: str) -> dict[str, Any]:
    return {"max_abs_diff": None, "max_rel_diff": None, "spread_diff": None, "problem": problem}


def _spread_diff(got: Array, expected: Array) -> float:
    axes = tuple(axis for axis in range(expected.ndim) if axis != 1)
    scale = np.maximum(1.0, np.abs(expected).max(axis=axes))
    spread = np.maximum(expected.std(axis=axes), _LEAST_SPREAD * scale)
    return float((np.sqrt(((got - expected) ** 2).mean(axis=axes)) / spread).max())


def _matched(got: Array, expected: Array) -> tuple[Array, Array]:
    """For each expected object, the one got that is most like it; numbers on axis 1.

    Objects that score hardly more than the last one are left out; of noise, all scores are small.
    Where all score alike, scores are all that is compared.
    """
    have, wanted = got[0], expected[0]
    wanted = wanted[wanted[:, 4] > 1.001 * wanted[:, 4].min()]
    if not len(wanted):
        return got[:, None, :, 4], expected[:, None, :, 4]
    scale = np.maximum(1.0, np.abs(expected[0]).max(axis=0))
    apart = (np.abs(have[None] - wanted[:, None]) / scale).max(axis=2)
    return have[apart.argmin(axis=1)].T[None], wanted.T[None]


# -- the machine -------------------------------------------------------------------------------


def describe_machine() -> dict[str, Any]:
    """CPU, widest vector extension and system, as they enter the fingerprint; and INT8's."""
    fields: dict[str, str] = {}
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    board = (_read("/proc/device-tree/model") or "").strip("\0 \n")
    name = fields.get("model name") or board or _sysctl("machdep.cpu.brand_string")
    if not name and "CPU part" in fields:  # ARM without a device tree, as in a cloud
        name = f"ARM implementer {fields.get('CPU implementer')} part {fields['CPU part']}"
    flags = set(f"{fields.get('flags', '')} {fields.get('Features', '')}".lower().split())
    return {
        "cpu": name or platform.processor() or platform.machine() or "unknown",
        "isa": _isa(flags),
        "int8": _int8(flags),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def gpu_of(provider: str) -> int | None:
    """Which of the NVIDIA GPUs that CUDA sees a provider means; None where it means none."""
    name, _, index = provider.lower().partition(":")
    if not name.startswith(("cuda", "tensorrt", "nvtensorrt")):
        return None
    return int(index) if index.isdigit() else 0


def gpu_name(provider: str) -> str | None:
    """What a provider other than the CPU runs on, where NVIDIA's tool tells."""
    index = gpu_of(provider)
    if index is None:
        return None
    # CUDA counts the devices that it may see, in this order; the tool counts all of them
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").replace(" ", "").split(",")
    which = visible[index] if index < len(visible) and visible[index] else str(index)
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader", "-i", which]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def machine_state() -> dict[str, float | None]:
    """Load average, hottest sensor and clock of the first core; None where not readable."""
    zones = [_read(f"/sys/class/thermal/thermal_zone{zone}/temp") for zone in range(16)]
    degrees = [int(zone) / 1e3 for zone in zones if zone and zone.strip().lstrip("-").isdigit()]
    clock = _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
    return {
        "load_1min": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "temperature_c": max(degrees, default=None),
        "frequency_mhz": int(clock) / 1e3 if clock and clock.strip().isdigit() else None,
    }


def _isa(flags: set[str]) -> str:
    for flag, isa in (("avx512f", "avx512"), ("avx2", "avx2"), ("avx", "avx"), ("sse4_2", "sse4")):
        if flag in flags:
            return isa
    if "sve" in flags:
        return "sve"
    if flags & {"asimd", "neon"} or platform.machine().lower() in ("arm64", "aarch64"):
        return "neon"
    return "avx2" if _sysctl("hw.optional.avx2_0") == "1" else "unknown"


def _int8(flags: set[str]) -> str:
    """The instructions that add up products of 8 bits; "" where there are none, or none known."""
    for flag in ("avx512_vnni", "avx_vnni", "asimddp"):
        if flag in flags:
            return flag
    return "asimddp" if _sysctl("hw.optional.arm.FEAT_DotProd") == "1" else ""


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return None


def _sysctl(name: str) -> str | None:
    """A macOS kernel value; None elsewhere."""
    if platform.system() != "Darwin":
        return None
    command = ["/usr/sbin/sysctl", "-n", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


# -- the program -------------------------------------------------------------------------------


def run_job(job: Job) -> dict[str, Any]:
    """Do one job and describe where and how it was done.

    Returns:
        `models`: per model, the reference first, wall_ms and cpu_ms (blocks x runs; cpu_ms None
        where processor time does not count); `stopped`: "tight", "max_blocks", "cap" or
        "untimed"; `checks`: one result per check; and the facts about machine and runtime.

    Raises:
        RunnerError: The job cannot be done.
    """
    before = machine_state()
    load = loader_of(job)
    checked = [check["model"] for check in job["checks"]]
    paths = dict.fromkeys([job["dense"], *job["candidates"], *checked])
    models = {path: load(path, job) for path in paths}
    checks = [
        check_output(
            models[check["model"]],
            check["input"],
            check["expected"],
            check.get("output", 0),
            check.get("rows", False),
        )
        for check in job["checks"]
    ]
    times: list[Job] = []
    stopped = "untimed"
    if job["timing"] is not None:
        # the reference as its own candidate is loaded again, as any other model would be
        timed = [models[job["dense"]]] + [
            load(path, job) if path == job["dense"] else models[path] for path in job["candidates"]
        ]
        if burden_s := job["timing"].get("burden_s", 0.0):
            timed[1:] = [_Burdened(model, burden_s) for model in timed[1:]]
        again = load(job["dense"], job) if job["candidates"] else None
        times, stopped = time_models(timed, job["timing"], again)
    dense = models[job["dense"]]
    machine = describe_machine()
    if gpu := gpu_name(dense.provider):
        machine["cpu"] = f"{machine['cpu']} with {gpu}"
    return {
        **machine,
        "runtime": job["runtime"],
        "runtime_version": dense.version,
        "provider": dense.provider,
        "providers": dense.providers,
        "layout": "channels_last" if job.get("channels_last") else "contiguous",
        "precision": job.get("precision", "fp32"),
        "threads": job["threads"],
        "imgsz": job["imgsz"],
        "batch": job["batch"],
        "models": times,
        "stopped": stopped,
        "checks": checks,
        "before": before,
        "after": machine_state(),
        "free_bytes": _free_bytes(job["dense"]),
        "cores": _cores(),
    }


def answer(text: str) -> dict[str, Any]:
    """The answer to a job given as JSON text; an error becomes an answer too."""
    try:
        result = run_job(json.loads(text))
    except Exception as error:
        result = error_of(error)
    return {"runner_version": RUNNER_VERSION, **result}


def error_of(error: Exception) -> dict[str, Any]:
    """What an answer says of an error: {"error": {"kind", "message"}}."""
    kind = getattr(error, "kind", None)
    if kind in _KINDS:  # the runner's, or a loader's own
        return _error(kind, str(error))
    kind = "job" if isinstance(error, (KeyError, TypeError)) else "model"
    return _error(kind, f"{type(error).__name__}: {error}")


def _cores() -> int | None:
    """Cores that this process may use; None where the system does not tell."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count()


def _free_bytes(path: str) -> int | None:
    """Free disk where a model was sent to; None where the system does not tell."""
    try:
        return shutil.disk_usage(os.path.dirname(os.path.abspath(path))).free
    except OSError:
        return None


def _error(kind: str, message: str) -> dict[str, Any]:
    lowered = message.lower()
    if any(text in lowered for text in ("memoryerror", "out of memory", "bad_alloc")):
        kind = "memory"
    return {"error": {"kind": kind, "message": " ".join(message.split())[:500]}}


def die_with_parent() -> None:
    """On Linux, end when the process named by PARENT_VARIABLE does, however it dies."""
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is None or platform.system() != "Linux":
        return
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it died before that
        sys.exit(1)


def main() -> int:
    """Read the job from stdin and print the answer, alone, on stdout."""
    if sys.path and os.path.realpath(sys.path[0]) == os.path.dirname(os.path.realpath(__file__)):
        del sys.path[0]  # the neighbours of this file must not shadow installed modules
    die_with_parent()
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a runtime prints goes to stderr
    result = answer(sys.stdin.read())
    print(json.dumps(result, separators=(",", ":")), file=channel, flush=True)
    return 1 if "error" in result else 0


if __name__ == "__main__":
    sys.exit(main())
