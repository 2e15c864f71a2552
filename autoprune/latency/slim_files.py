"""Files of any plan, cut from the dense model's: right shapes, meaningless numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import nn

from autoprune.errors import TrialFailed
from autoprune.latency.export import export_model, folded, quietly
from autoprune.latency.exported_model import ExportedModel
from autoprune.latency.quantizing import (
    FloatFile,
    Quantizer,
    Quantizing,
    head_ends,
    kept_in_float,
)
from autoprune.latency.runtimes import RUNTIMES
from autoprune.latency.slim_onnx import SlimmableOnnx
from autoprune.storage.scratch import scratch_folder


class SlimFiles(Protocol):
    """Writes a model in any widths, see `SlimmableOnnx`."""

    def covers(self, names: Iterable[str]) -> bool:
        """Whether all convolutions of these names can be cut, and nothing else has a width."""

    def write(self, widths: Mapping[str, tuple[int, int]], path: Path) -> Path:
        """Write the model with these widths, module name -> input and output channels.

        The file's folder is created.
        """


@dataclass(frozen=True)
class SlimQuantized:
    """Cuts a float file and makes that INT8: for runtimes whose INT8 files cannot be cut.

    Attributes:
        floats: The dense model's file in float.
        known: What the quantizer must know of it.
        quantize: Of the runtime.
    """

    floats: SlimmableOnnx
    known: FloatFile
    quantize: Quantizer

    def covers(self, names: Iterable[str]) -> bool:
        """See SlimFiles."""
        return self.floats.covers(names)

    def write(self, widths: Mapping[str, tuple[int, int]], path: Path) -> Path:
        """See SlimFiles.

        Raises:
            TrialFailed: "export" where the quantizer fails.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder("slim") as folder, quietly():
            plain = self.floats.write(widths, Path(folder) / "model.onnx")
            try:
                self.quantize(plain, path, self.known, Quantizing())  # with noise: only timed
            except Exception as error:  # quantizers raise whatever the operator at fault raises
                problem = " ".join(str(error).split())[:200] or type(error).__name__
                raise TrialFailed("export", f"{path.name}: {problem}") from error
        return path


def slim_files(dense: ExportedModel, model: nn.Module) -> SlimFiles | None:
    """What writes the files of plans without pruning and exporting, which takes seconds each.

    Args:
        dense: The model in the runtime's format.
        model: The same as a module.

    Returns:
        None for a runtime whose files cannot be cut.

    Raises:
        TrialFailed: No exporter writes the float file that INT8 files are made of.
    """
    row = RUNTIMES.row(dense.runtime, "--runtime")
    if row.can_slim:
        return SlimmableOnnx(dense.path)
    if row.quantize is None or row.in_float is None or not RUNTIMES.row(row.in_float, "").can_slim:
        return None
    with scratch_folder("slim") as folder:
        plain = export_model(model, Path(folder) / "dense.onnx", dense.imgsz, row.in_float)
        assert plain.reference is not None
        shape = np.load(plain.reference[0]).shape
        known = FloatFile(shape, kept_in_float(plain.path, head_ends(folded(model))), {})
        return SlimQuantized(SlimmableOnnx(plain.path), known, row.quantize)
