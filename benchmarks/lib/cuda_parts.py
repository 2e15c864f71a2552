"""The parts of `claims/cuda.py`: each adds rows of plain data, one as soon as it is known."""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.lib.cuda_ways import Add, Place, halved, latency, models, told

__all__ = [
    "Place", "calibration", "environment", "latency", "measure", "predictor", "search", "tests",
    "training",
]  # fmt: skip
ROOT = Path(__file__).resolve().parents[2]
NEEDED = (
    "torch", "torchvision", "onnx", "onnxruntime", "onnxscript", "cv2", "numpy", "pandas", "scipy",
    "matplotlib", "psutil", "ultralytics", "optuna", "pydantic", "plotly", "tenacity", "filelock",
    "jinja2", "yaml", "platformdirs", "rich", "typer", "pytest", "hypothesis", "triton", "tensorrt",
)  # fmt: skip


def environment(place: Place, add: Add) -> None:
    """What is installed, and the card."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    packages = ("torch", "torchvision", "onnx", "onnxruntime", "onnxruntime-gpu", "ultralytics")
    add(missing=missing, versions={name: found for name in packages if (found := _version(name))})
    import torch

    about: dict[str, Any] = {"cuda": torch.version.cuda, "available": torch.cuda.is_available()}
    if not place.small:
        facts = torch.cuda.get_device_properties(place.device)
        about |= {
            "card": facts.name,
            "memory_gb": round(facts.total_memory / 1e9, 1),
            "capability": f"{facts.major}.{facts.minor}",
            "cudnn": torch.backends.cudnn.version(),
            "tf32_convolutions": torch.backends.cudnn.allow_tf32,
        }
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        about["driver"] = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    add(**about, cores=os.cpu_count())
    import onnxruntime

    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    add(onnxruntime_providers=onnxruntime.get_available_providers())


def measure(place: Place, add: Add) -> None:
    """The product's measurement: precisions, other runtimes, A/A and 5 % slower."""
    from autoprune.latency.export import export_model
    from autoprune.latency.local_target import LocalTarget
    from autoprune.latency.measure import compare, measure_dense
    from autoprune.latency.options import RuntimeOptions, TimingSettings
    from autoprune.latency.self_test import self_test, smallest_difference

    target, timing = LocalTarget(), TimingSettings(dense_s=1.0, cap_s=5.0)
    if place.small:
        timing = TimingSettings(min_blocks=8, min_s=0.1, dense_s=0.2, cap_s=0.5)
    providers = {"torch": place.device, "onnxruntime": "CUDAExecutionProvider", "tensorrt": None}
    if place.small:
        providers = {"torch": "cpu", "onnxruntime": None}
    name, side, module = list(models(place))[-1 if place.small else 1]
    with tempfile.TemporaryDirectory() as folder:
        for runtime, provider in providers.items():
            in_half = runtime != "onnxruntime" and not place.small
            for precision in ("fp32", "fp16") if in_half else ("fp32",):
                try:
                    options = RuntimeOptions(runtime, (side, side), 1, provider, False, precision)
                    half, dense = (
                        export_model(one, Path(folder) / f"{label}{options.row.suffix}",
                                     (side, side), runtime)
                        for label, one in (("half", halved(module)), ("dense", module))
                    )  # fmt: skip
                    own = measure_dense(target, dense, options, timing)
                    _, pruned = compare(target, [dense, half], options, timing)
                    add(
                        model=name, runtime=runtime, precision=precision, ms=own.median_ms,
                        half_ratio=pruned.ratio, steady=own.steady and pruned.steady,
                        fingerprint=own.fingerprint.model_dump(),
                    )  # fmt: skip
                    if runtime == "torch" and precision == "fp32":
                        burdens, rounds = (0.0, 0.05), 1 if place.small else 3
                        tested = self_test(target, dense, options, timing, rounds, burdens)
                        add(
                            self_test={f"{each.burden:.2f}": each.errors for each in tested},
                            found={f"{each.burden:.2f}": each.found for each in tested},
                            rounds=rounds, smallest_difference=smallest_difference(tested),
                        )  # fmt: skip
                except Exception as error:
                    add(model=name, runtime=runtime, precision=precision, error=told(error))


def training(place: Place, add: Add) -> None:
    """Calibration, scores and a fine-tune of the demo, on the device and on the CPU."""
    from autoprune.demo.bundle import demo_checkpoint
    from autoprune.demo.dataset import demo_data_yaml
    from autoprune.evaluation.quiet import prepare_environment

    prepare_environment()
    from autoprune.evaluation.checkpoint import load_yolo
    from autoprune.evaluation.dataset import inspect_data
    from autoprune.evaluation.fine_tune import fine_tune, settings_from
    from autoprune.evaluation.renormalize import renormalize_batchnorm
    from autoprune.evaluation.training_loss import sample_images
    from autoprune.evaluation.validate import validate
    from autoprune.pruning.prune import Pruner, uniform_plan
    from autoprune.search.learn.calibration import calibrate

    module, data = load_yolo(demo_checkpoint()).model, inspect_data(demo_data_yaml())
    side, images = 192, 32 if place.small else 256
    few = data.val[: 32 if place.small else None]
    with tempfile.TemporaryDirectory() as scratch:
        folder, known = Path(scratch), None
        for device in dict.fromkeys((place.device, "cpu")):
            began, cache = time.monotonic(), folder / device.replace(":", "")
            known = calibrate(module, data, side, images, device=device, cache=cache)
            add(step="calibrate", device=device, images=images, seconds=_since(began))
        pruner = Pruner(module, "obs", known, compensated=True)
        pruned = pruner.prune(uniform_plan(pruner.widths, 0.4))
        for label, model in (("dense", module), ("pruned", pruned)):
            for device in dict.fromkeys((place.device, "cpu")):
                began = time.monotonic()
                score = validate(model, data, few, side, device).map50_95
                add(step=f"validate {label}", device=device, map50_95=score, seconds=_since(began))
        renormalize_batchnorm(pruned, sample_images(data, 32, 0), side, place.device)
        for distill in (0, 1):
            asked = {"epochs": 1, "device": place.asked, "distill": distill}
            settings, most_s = settings_from(asked), 10.0 if place.small else None
            yaml = data.training_yaml(folder / "data")
            tuned = fine_tune(pruned, yaml, side, settings, folder, teacher=module, most_s=most_s)
            score = validate(tuned.module, data, few, side, place.device).map50_95
            add(
                step="fine-tune", device=place.device, distill=distill, images=tuned.images_seen,
                map50_95=score, seconds=round(tuned.seconds, 1),
            )  # fmt: skip


def search(place: Place, add: Add) -> None:
    """The demo searched on the device, latency in torch there."""
    from autoprune import api
    from autoprune.domain.config import StudyConfig
    from autoprune.domain.schema import load_json
    from autoprune.search.context.listener import SearchListener

    class Spoken(SearchListener):
        def say(self, text: str) -> None:
            print(text, flush=True)

    settings: dict[str, Any] = {
        "goal": {"kind": "max_drop", "value": 3.0},  # a GPU may wait for launches alone
        "runtime": "torch",
        "provider": place.device,
        "fine_tune": {"device": place.asked},
        "timeout_s": 360 if place.small else 180,
    }
    if place.small:  # two plans, each trained for a moment
        settings |= {"trials": 2, "imgsz": 64, "importance": "l2", "compensate": False}
        settings["fine_tune"]["epochs"] = 1
    with tempfile.TemporaryDirectory() as studies:
        config = StudyConfig.of(settings, "cuda.py")
        found = api.search(config, studies=studies, listener=Spoken())
        folder = found.folder
        records = folder.trial_records()
        dense, best = folder.dense_record(), found.outcome.model_dump(mode="json")
        add(
            outcome=best, trials=len(records),
            states={state: sum(one.state == state for one in records)
                    for state in {one.state for one in records}},
            failures=[one.failure.model_dump() for one in records if one.failure],
            dense_ms=dense and dense.latency and dense.latency.median_ms,
            dense_map=dense and dense.map50_95,
            trained=[{"number": one.number, "ratio": one.latency and one.latency.ratio,
                      "map50_95": one.map50_95} for one in records if one.map50_95],
            stages=load_json("stages.json", folder.root / "stages.json"),
            page_bytes=found.report.stat().st_size,
        )  # fmt: skip


def calibration(place: Place, add: Add) -> None:
    """Seconds for the images of a search of yolov8s at 640 px; and whether both agree."""
    import torch

    from autoprune.demo.dataset import Split, write_detection_set
    from autoprune.demo.shapes import CLASS_NAMES
    from autoprune.evaluation.quiet import prepare_environment

    prepare_environment()
    from ultralytics.nn.tasks import DetectionModel

    from autoprune.evaluation.dataset import inspect_data
    from autoprune.search.learn.calibration import calibrate

    torch.manual_seed(0)
    name, side = ("yolov8n", 128) if place.small else ("yolov8s", 640)
    model = DetectionModel(f"{name}.yaml", nc=len(CLASS_NAMES), verbose=False).eval()
    covariances: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        splits = {"train": Split(1, 48), "val": Split(2, 2)}
        data = inspect_data(write_detection_set(Path(folder) / "set", splits))
        turns = [(place.device, 16), (place.device, 45), ("cpu", 16)]
        for number, (device, images) in enumerate(turns):
            began, cache = time.monotonic(), Path(folder) / str(number)
            found = calibrate(model, data, side, images, device=device, cache=cache)
            add(model=name, imgsz=side, device=device, images=images, seconds=_since(began))
            covariances[f"{device} {images}"] = found.inputs
    ours, theirs = covariances[f"{place.device} 16"], covariances["cpu 16"]
    apart = {
        key: float((ours[key].covariance - one.covariance).norm() / one.covariance.norm())
        for key, one in theirs.items()
    }
    worst = max(apart, key=lambda key: apart[key])
    add(covariance_apart=apart[worst], of=worst, median=statistics.median(apart.values()))


def tests(place: Place, add: Add) -> None:
    """The tests that need a GPU."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-rf", "-p", "no:cacheprovider"]
    if find_spec("xdist") is None:
        command[4:6] = ["-o", "addopts="]
    environment = {**os.environ, "AUTOPRUNE_TEST_DEVICE": place.device}
    if place.small:  # those that time models take a process each
        command += ["-k", "calibration or batch_norms or scores or fine_tune"]
    done = subprocess.run(
        [*command, "tests/test_cuda.py"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    summary = next((line for line in reversed(lines) if re.search(r"\d+ \w+ in ", line)), "")
    add(status=done.returncode, summary=summary, lines=lines[-30:], errors=done.stderr[-2000:])


def predictor(place: Place, add: Add) -> None:
    """Learned from plans timed there, asked about others."""
    import numpy as np

    from autoprune.evaluation.quiet import prepare_environment
    from autoprune.latency.export import export_model
    from autoprune.latency.local_target import LocalTarget
    from autoprune.latency.options import RuntimeOptions
    from autoprune.latency.training_plans import training_plan
    from autoprune.pruning.prune import Pruner
    from autoprune.search.context.listener import SearchListener
    from autoprune.search.learn.learn_latency import PlanTimer, time_plans

    prepare_environment()
    name, side, module = next(iter(models(place)))
    options = RuntimeOptions("torch", (side, side), 1, place.device)
    pruner = Pruner(module)

    def export(one: Any, where: Path) -> Any:
        return export_model(one, where / "model.pt2", (side, side), "torch")

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        timer = PlanTimer(
            pruner, (side, side), LocalTarget(), options, export(module, folder), export
        )
        limits_s, plans = ((60.0, 20.0), (12, 2)) if place.small else ((100.0, 35.0), (32, 10))
        tables = [
            time_plans(
                timer, [training_plan(pruner.widths, seed, number) for number in range(count)],
                folder / f"{seed}.json", SearchListener(), limit_s,
            )
            for seed, count, limit_s in zip((0, 1000), plans, limits_s, strict=True)
        ]  # fmt: skip
        learned, unseen = tables
        found = learned.fit(timer.geometry)
        truth = np.array([plan.ratio for plan in unseen.plans])
        guess = found.predict(np.array([plan.kept for plan in unseen.plans]))
        add(
            model=name, imgsz=side, plans=len(learned.plans), unseen=len(truth),
            mape=float(np.abs(guess / truth - 1).mean()), block=found.staircase.block,
            align=found.staircase.align, ratios=truth.round(4).tolist(),
            predicted=guess.round(4).tolist(), seconds=round(learned.seconds, 1),
        )  # fmt: skip


def _since(began: float) -> float:
    return round(time.monotonic() - began, 1)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
