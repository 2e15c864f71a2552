"""INT8 for ONNX Runtime: convolutions and products of matrices between Quantize and Dequantize."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from autoprune.latency.quantizing import Array, FloatFile, Quantizing

_KINDS = ["Conv", "Gemm", "MatMul"]


def quantize_onnx(plain: Path, path: Path, known: FloatFile, quantizing: Quantizing) -> None:
    """Write a .onnx file in INT8.

    Weights have a scale per output channel and no zero point, maps one scale and zero point each.

    Args:
        plain: The float .onnx file.
        path: The file to write.
        known: Of the float file.
        quantizing: Images, and what the target can add up.
    """
    import onnx  # half a second: only where models are made

    graph = onnx.load(plain, load_external_data=False).graph
    with _log_left_alone():
        quantize_static(
            str(plain),
            str(path),
            _Reader(graph.input[0].name, quantizing.pictures(known.shape)),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_KINDS,
            nodes_to_exclude=list(known.kept),
            per_channel=True,
            reduce_range=not quantizing.full_range,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"WeightSymmetric": True, "ActivationSymmetric": False},
        )


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # it has no types
    """Hands images to ONNX Runtime, one by one."""

    def __init__(self, name: str, images: Iterator[Array]) -> None:
        self._name, self._images = name, images

    def get_next(self) -> dict[str, Array] | None:
        """The next one, or None at the end."""
        image = next(self._images, None)
        return None if image is None else {self._name: image}


@contextlib.contextmanager
def _log_left_alone() -> Iterator[None]:
    """Its advice is logged by functions that would give the process a handler of their own."""
    silent, root = logging.NullHandler(), logging.getLogger()
    root.addHandler(silent)
    try:
        yield
    finally:
        root.removeHandler(silent)
