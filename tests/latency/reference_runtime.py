"""A runtime in one file: ONNX's reference evaluator. A row, and the loader sent to the target."""

import time
from pathlib import Path

import numpy as np


def row():
    """The row; the target, where this file is sent to, has no autoprune and never calls it."""
    from autoprune.latency.runtimes import ONNX_WRITERS, Runtime

    return Runtime(
        name="reference",
        summary="ONNX's reference evaluator: slow, and right.",
        packages=("onnx",),
        suffix=".onnx",
        writers=ONNX_WRITERS,
        provider="numpy",
        can_slim=True,
        loader=Path(__file__),
    )


class NoSuchProvider(Exception):
    """Tells the runner what is wrong."""

    kind = "provider"


class ReferenceModel:
    """A model as the runner times it."""

    def __init__(self, path, job):
        import onnx.reference

        if job["provider"] != "numpy":
            raise NoSuchProvider(f"asked for {job['provider']}, but available: numpy")
        self.version = onnx.__version__
        self.provider, self.providers, self.single_threaded = "numpy", ["numpy"], False
        self._evaluator = onnx.reference.ReferenceEvaluator(path)
        self._name = self._evaluator.input_names[0]
        self._image = np.zeros((job["batch"], 3, *job["imgsz"]), dtype=np.float32)

    def output(self, image):
        """First output for an image."""
        return np.asarray(self._evaluator.run(None, {self._name: image})[0])

    def timed_run(self):
        """(wall, processor) seconds of one forward pass."""
        busy, began = time.process_time(), time.perf_counter()
        self._evaluator.run(None, {self._name: self._image})
        return time.perf_counter() - began, time.process_time() - busy


load = ReferenceModel
