"""What Ultralytics reads in a .onnx file before it runs it: class names, stride, image size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

_LICENSE = "AGPL-3.0 License (https://ultralytics.com/license)"


def write_metadata(model: nn.Module, image: Tensor, path: Path, opset: int) -> None:
    """Describe a model in its .onnx file, with the keys of Ultralytics' own exporter.

    `YOLO(path, task=...)` then predicts and validates with the model's class names. A module
    that has no class names and strides is left without.

    Args:
        model: What was exported.
        image: What it was exported for, (batch, channels, height, width).
        path: The file; it is written again.
        opset: ONNX operator set of the file.
    """
    known = described(model, image, {"opset": opset, "simplify": False})
    if not known:
        return
    import onnx  # half a second: only where models are made

    file = onnx.load(path)
    onnx.helper.set_model_props(file, {key: str(value) for key, value in known.items()})
    onnx.save(file, path)


def described(model: nn.Module, image: Tensor, more: dict[str, Any]) -> dict[str, Any]:
    """What Ultralytics' own exporter says of a model; nothing without class names and strides.

    Args:
        model: What is exported.
        image: What it is exported for, (batch, channels, height, width).
        more: Further settings of the export.
    """
    names, stride = getattr(model, "names", None), getattr(model, "stride", None)
    if not names or not isinstance(stride, Tensor):
        return {}
    detector: Any = model
    batch, channels, height, width = image.shape
    found = {
        "description": "Exported by autoprune",
        "license": _LICENSE,
        "stride": int(stride.max()),
        "task": getattr(model, "task", "detect"),
        "head": type(detector.model[-1]).__name__,
        "batch": batch,
        "imgsz": [height, width],
        "names": dict(names) if isinstance(names, dict) else dict(enumerate(names)),
        "args": {"batch": batch, "dynamic": False, **more, "nms": False},
        "channels": channels,
        "end2end": bool(getattr(detector, "end2end", False)),
    }
    keypoints = getattr(detector.model[-1], "kpt_shape", None)
    if keypoints is not None:
        found["kpt_shape"] = list(keypoints)
        if hasattr(model, "kpt_names"):
            found["kpt_names"] = model.kpt_names
    return found
