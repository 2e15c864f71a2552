"""OpenVINO for the runner: one stream, the threads asked for; what is not INT8 as asked for.

A file is a .onnx, or a .zip that holds `model.xml` and `model.bin`.

It is sent to the target beside the runner, so it imports nothing of autoprune and runs on Python
3.9 or later, with numpy and OpenVINO.
"""

from __future__ import annotations

import importlib
import time
import zipfile
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

GRAPH, WEIGHTS = "model.xml", "model.bin"
_HINTS = {"fp16": "f16", "bf16": "bf16"}  # what else stays in float32


class NoSuchDevice(Exception):
    """OpenVINO knows no device of that name here."""

    kind = "provider"


class NoSuchPrecision(Exception):
    """The device does not compute in it."""

    kind = "precision"


class BrokenModel(Exception):
    """OpenVINO cannot read or compile the file."""

    kind = "model"


class OpenVinoModel:
    """A model in OpenVINO; see the runner's own classes."""

    def __init__(self, path: str, job: dict[str, Any]) -> None:
        openvino: Any = importlib.import_module("openvino")
        self.version: str = openvino.__version__.partition("-")[0]
        self.provider: str = job["provider"]
        on_cpu = self.provider == "CPU"
        self.single_threaded = on_cpu and job["threads"] == 1
        core = openvino.Core()
        there = core.available_devices
        if self.provider.partition(".")[0] not in {each.partition(".")[0] for each in there}:
            raise NoSuchDevice(f"asked for {self.provider}, but available: {', '.join(there)}")
        precision = job.get("precision", "fp32")
        if precision in _HINTS:
            can = core.get_property(self.provider, "OPTIMIZATION_CAPABILITIES")
            if precision.upper() not in can:
                known = [each for each in ("fp32", *_HINTS) if each.upper() in can]
                message = f"asked for {precision}, but {self.provider} there computes in"
                raise NoSuchPrecision(f"{message}: {', '.join(known)}")
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _HINTS.get(precision, "f32"),
        }
        if on_cpu:
            settings["INFERENCE_NUM_THREADS"] = job["threads"]
            settings["NUM_STREAMS"] = 1
            settings["CPU_DENORMALS_OPTIMIZATION"] = True  # as the runner's own runtimes
        try:
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as file:
                    model = core.read_model(file.read(GRAPH), file.read(WEIGHTS))
            else:
                model = core.read_model(path)
            compiled = core.compile_model(model, self.provider, settings)
        except Exception as error:
            text = " ".join(str(error).split())[:300]
            raise BrokenModel(f"{path}: OpenVINO cannot load it: {text}") from None
        self.providers: list[str] = list(compiled.get_property("EXECUTION_DEVICES"))
        self._request = compiled.create_infer_request()
        channels = compiled.input(0).partial_shape[1].get_length()
        shape = (job["batch"], channels, *job["imgsz"])
        self._image = np.random.default_rng(0).random(shape, dtype=np.float32)

    def output(self, image: Array, number: int = 0) -> Array:
        """One output for an image (batch, channels, height, width), by default the first."""
        self._request.infer({0: image.astype(np.float32)})
        return np.array(self._request.get_output_tensor(number).data)

    def timed_run(self) -> tuple[float, float]:
        """(wall, processor) seconds of one forward pass."""
        busy, began = time.process_time(), time.perf_counter()
        self._request.infer({0: self._image}, share_inputs=True)
        return time.perf_counter() - began, time.process_time() - busy


load = OpenVinoModel
