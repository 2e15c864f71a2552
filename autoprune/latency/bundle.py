"""A runtime's files in one: a .zip, which can be sent, hashed and moved like any other file.

Unpacked into a folder `NAME_ncnn_model` or `NAME_openvino_model` it is what Ultralytics opens.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from autoprune.latency.onnx_metadata import described
from autoprune.storage.yaml_io import dump_yaml

METADATA = "metadata.yaml"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the same content gives the same file


def model_metadata(model: nn.Module, image: Tensor, precision: str) -> dict[str, Any]:
    """What is said of a model beside its files: see `described`; at least its channels."""
    known = described(model, image, {precision: True})
    return known or {"channels": image.shape[1], "imgsz": list(image.shape[2:])}


def write_bundle(path: Path, files: Mapping[str, bytes], metadata: Mapping[str, Any]) -> None:
    """Write files, uncompressed, and what is said of them.

    Args:
        path: The file to write.
        files: Name -> content.
        metadata: For `metadata.yaml`.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as bundle:
        for name, content in {**files, METADATA: dump_yaml(dict(metadata)).encode()}.items():
            bundle.writestr(zipfile.ZipInfo(name, _LONG_AGO), content)
