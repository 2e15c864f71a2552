"""ncnn for the runner: the CPU, the threads asked for, fp16 where the CPU computes in it.

It is sent to the target beside the runner, so it imports nothing of autoprune and runs on Python
3.9 or later, with numpy and ncnn.

A file is a .zip that holds `model.ncnn.param`, `model.ncnn.bin` and a `metadata.yaml` that names
the image's channels.
"""

from __future__ import annotations

import importlib
import os
import re
import tempfile
import time
import zipfile
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

PARAM, WEIGHTS, METADATA = "model.ncnn.param", "model.ncnn.bin", "metadata.yaml"


class NoSuchDevice(Exception):
    """Only the CPU is used."""

    kind = "provider"


class BrokenModel(Exception):
    """ncnn cannot read or run the file."""

    kind = "model"


class NcnnModel:
    """A model in ncnn; see the runner's own classes."""

    def __init__(self, path: str, job: dict[str, Any]) -> None:
        self._ncnn: Any = importlib.import_module("ncnn")
        self.version: str = self._ncnn.__version__
        self.provider: str = job["provider"]
        if self.provider != "cpu":
            raise NoSuchDevice(f"asked for {self.provider}, but available: cpu")
        self.providers = [self.provider]
        self.single_threaded = job["threads"] == 1
        self._path = path
        self._net = self._ncnn.Net()
        options = self._net.opt  # fp16 is on by default: used where the CPU computes in it
        options.use_vulkan_compute = False
        options.num_threads = job["threads"]
        options.lightmode = True
        channels = self._read(path)
        inputs, self._outputs = self._net.input_names(), self._net.output_names()
        if len(inputs) != 1:
            raise BrokenModel(f"{path}: expected one image input, got {', '.join(inputs)}")
        (self._input,) = inputs
        shape = (channels, *job["imgsz"])
        self._image = np.random.default_rng(0).random(shape, dtype=np.float32)

    def _read(self, path: str) -> int:
        """Load the two files; the image's channels."""
        with tempfile.TemporaryDirectory() as folder:
            try:
                with zipfile.ZipFile(path) as file:
                    for name in (PARAM, WEIGHTS):
                        file.extract(name, folder)
                    described = file.read(METADATA).decode()
            except (OSError, KeyError, zipfile.BadZipFile) as error:
                message = f"{path}: expected a .zip of {PARAM} and {WEIGHTS}: {error}"
                raise BrokenModel(message) from None
            read = ((self._net.load_param, PARAM), (self._net.load_model, WEIGHTS))
            for load, name in read:
                if load(os.path.join(folder, name)) != 0:
                    raise BrokenModel(f"{path}: ncnn cannot load its {name}")
        channels = re.search(r"^channels: (\d+)$", described, re.MULTILINE)
        return int(channels[1]) if channels else 3

    def output(self, image: Array, number: int = 0) -> Array:
        """One output for an image (1, channels, height, width), by default the first."""
        found = self._run(np.ascontiguousarray(image[0], np.float32))
        return np.array(found[number])[None]

    def timed_run(self) -> tuple[float, float]:
        """(wall, processor) seconds of one forward pass; ncnn computes what is asked for: all."""
        busy, began = time.process_time(), time.perf_counter()
        self._run(self._image)
        return time.perf_counter() - began, time.process_time() - busy

    def _run(self, image: Array) -> list[Any]:
        extractor = self._net.create_extractor()
        extractor.input(self._input, self._ncnn.Mat(image))
        found = []
        for name in self._outputs:
            code, result = extractor.extract(name)
            if code != 0:
                raise BrokenModel(f"{self._path}: ncnn stops with code {code}")
            found.append(result)
        return found


load = NcnnModel
