"""The table of runtimes: what runs a model on the target, and what writes its files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autoprune.domain.table import Table, later

if TYPE_CHECKING:
    import torch
    from torch import nn

    Writer = Callable[[nn.Module, torch.Tensor, Path], None]


@dataclass(frozen=True)
class Runtime:
    """One runtime.

    Attributes:
        name: What `--runtime` says.
        summary: What it is, in one line.
        packages: Modules that must import on the target; their names are also what pip installs.
        suffix: Of the files it reads, such as ".onnx": a dot and at most 8 letters and digits.
        writers: Exporters by name, tried in order: (prepared module, image, path) -> the file.
        provider: What it runs on where nothing is asked for: the CPU, as the runtime calls it.
        channels_last: Whether the memory layout can be chosen.
        can_slim: Whether its files are .onnx files whose weights may be cut to other widths, which
            times a plan without pruning and export.
        rewritten: Whether its files are exported from the rewritten copy (`latency.rewrites`).
            Only where measured to be faster.
        precisions: What its files may compute in.
        loader: A Python file that is sent to the target and defines `load(path, job)`; see
            docs/extending.md. None for the runtimes that the runner itself knows.
    """

    name: str
    summary: str
    packages: tuple[str, ...]
    suffix: str
    writers: tuple[tuple[str, Writer], ...]
    provider: str
    channels_last: bool = False
    can_slim: bool = False
    rewritten: bool = False
    precisions: tuple[str, ...] = ("fp32",)
    loader: Path | None = None


ONNX_WRITERS: tuple[tuple[str, Writer], ...] = (
    ("dynamo", later("autoprune.latency.export:write_dynamo")),
    ("torchscript", later("autoprune.latency.export:write_torchscript")),
)

_LOADERS = Path(__file__).resolve().parent / "loaders"
RUNTIMES = Table(
    "autoprune.runtimes",
    Runtime,
    [
        Runtime(
            name="onnxruntime",
            summary="ONNX Runtime on a .onnx file.",
            packages=("onnxruntime",),
            suffix=".onnx",
            writers=ONNX_WRITERS,
            provider="CPUExecutionProvider",
            can_slim=True,
            rewritten=True,
        ),
        Runtime(
            name="torch",
            summary="A `torch.export` program, run eagerly.",
            packages=("torch",),
            suffix=".pt2",
            writers=(("torch.export", later("autoprune.latency.export:write_program")),),
            provider="cpu",
            channels_last=True,
        ),
        Runtime(
            name="openvino",
            summary="OpenVINO on a .onnx file, in float32.",
            packages=("openvino",),
            suffix=".onnx",
            writers=ONNX_WRITERS,
            provider="CPU",
            can_slim=True,
            loader=_LOADERS / "openvino_loader.py",
        ),
    ],
)
DEFAULT_RUNTIME = "onnxruntime"


def with_layouts() -> str:
    """The shipped runtimes whose memory layout can be chosen, in a sentence."""
    return " or ".join(row.name for row in RUNTIMES.shipped() if row.channels_last)
