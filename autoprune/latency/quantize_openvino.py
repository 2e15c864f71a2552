"""INT8 for OpenVINO: its intermediate representation, quantized by NNCF."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from autoprune.latency.bundle import write_bundle
from autoprune.latency.quantizing import FloatFile, Quantizing
from autoprune.latency.runner import unreported
from autoprune.storage.scratch import scratch_folder

GRAPH, WEIGHTS = "model.xml", "model.bin"
_STATISTICS = 256  # images looked at, at most


def quantize_openvino(plain: Path, path: Path, known: FloatFile, quantizing: Quantizing) -> None:
    """Write a .zip of a graph and weights in INT8.

    Args:
        plain: The float .onnx file.
        path: The file to write.
        known: Of the float file.
        quantizing: Images, and what the target can add up.
    """
    openvino, nncf = unreported("openvino"), _nncf()
    fix = nncf.OverflowFix.DISABLE if quantizing.full_range else nncf.OverflowFix.ENABLE
    timed_only = quantizing.images is None
    quantized = nncf.quantize(
        openvino.Core().read_model(plain),
        nncf.Dataset(list(quantizing.pictures(known.shape))),
        subset_size=_STATISTICS,
        target_device=nncf.TargetDevice.CPU,
        ignored_scope=nncf.IgnoredScope(names=list(known.kept), validate=False),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            overflow_fix=fix, disable_bias_correction=timed_only
        ),
    )
    with scratch_folder("openvino") as folder:
        graph = Path(folder) / GRAPH
        openvino.save_model(quantized, graph, compress_to_fp16=False)
        files = {name: (Path(folder) / name).read_bytes() for name in (GRAPH, WEIGHTS)}
    write_bundle(path, files, known.metadata)


def _nncf() -> Any:
    """NNCF, silent."""
    torch_log = logging.getLogger("torch.utils.cpp_extension")  # it looks for a compiler of CUDA
    level = torch_log.level
    torch_log.setLevel(logging.ERROR)
    try:
        nncf = unreported("nncf")
    finally:
        torch_log.setLevel(level)
    nncf.set_log_level(logging.ERROR)
    return nncf
