"""The table of runtimes: what runs a model on the target, and what writes its files."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autoprune.domain.table import Table, later
from autoprune.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from autoprune.latency.quantizing import Quantizer

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
        quantize: Makes the file in INT8 of the .onnx file that a writer wrote; None: the writer's
            file is the runtime's.
        in_float: Of an INT8 runtime, the name of the one that runs the same files in float.
        makers: Modules that only conversion needs, on this machine.
        extra: Of autoprune, that installs the packages and makers; None where all are there.
        provider: What it runs on where nothing is asked for: the CPU, as the runtime calls it.
        channels_last: Whether the memory layout can be chosen.
        can_slim: Whether its files are .onnx files whose weights may be cut to other widths, which
            times a plan without pruning and export.
        rewritten: Whether its files are exported from the rewritten copy (`latency.rewrites`).
            Only where measured to be faster.
        precisions: What its files may compute in, as `--precision` says; the first where nothing
            is asked for.
        tolerance: How far an output may be from torch's, of a channel's largest value, at least
            of 1, in the first of the precisions. In INT8 it bounds the root mean square, of a
            channel's spread, instead.
        on_gpu: Whether `provider` is a GPU.
        compile_s: Seconds that loading one model may take, beyond what others do.
        tried: Whether it was ever run; where not, that is said wherever it is named.
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
    quantize: Quantizer | None = None
    in_float: str | None = None
    makers: tuple[str, ...] = ()
    extra: str | None = None
    tolerance: float = 1e-3  # torch and ONNX Runtime differ by 1e-6
    on_gpu: bool = False
    compile_s: float = 0.0
    tried: bool = True

    def refuse_precision(self, asked: str | None) -> None:
        """Say which precisions there are, where another is asked for.

        Raises:
            ConfigError: As said.
        """
        if asked is not None and asked not in self.precisions:
            *first, last = self.precisions
            expected = f"{', '.join(first)} or {last}" if first else last
            raise ConfigError.of("--precision", "", asked, f"{expected} with --runtime {self.name}")

    def tolerance_in(self, precision: str, *, on_gpu: bool) -> float:
        """How far an output may be from torch's, which computes in float32 on a CPU.

        GPUs round what convolutions read to 10 bits in float32 too, as torch, ONNX Runtime and
        TensorRT use TF32 unless told otherwise: as far off as in float16.
        """
        if precision == "int8":
            return self.tolerance
        rounded = "fp16" if on_gpu and precision == "fp32" else precision
        return max(self.tolerance, _OF_PRECISION[rounded])

    def refuse_without_makers(self) -> None:
        """Say what is missing on this machine to write its files.

        Raises:
            ConfigError: A module that conversion needs is not here.
        """
        for module in self.makers:
            if importlib.util.find_spec(module) is None:
                what = f'"autoprune[{self.extra}]"' if self.extra else module
                raise ConfigError(
                    f"--runtime {self.name}: {module} is not installed here, which writes its"
                    f" files: pip install {what}"
                )


_OF_PRECISION = {"fp32": 0.0, "fp16": 0.02, "bf16": 0.1}
"""What rounding alone may change of an output, as a share of a channel's largest value.

Seen on the demo: 9.8e-4 in fp16 (torch on a CPU; 3.8e-4 in ncnn), in bf16 9.8e-3 (torch) and 5.8e-3
(OpenVINO). The rest is room for other networks, and for sums in 16 bits.
"""

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
            precisions=("fp32", "fp16", "bf16"),
        ),
        Runtime(
            name="openvino",
            summary="OpenVINO on a .onnx file, in float32 unless told otherwise.",
            packages=("openvino",),
            suffix=".onnx",
            writers=ONNX_WRITERS,
            provider="CPU",
            can_slim=True,
            precisions=("fp32", "fp16", "bf16"),
            loader=_LOADERS / "openvino_loader.py",
            extra="openvino",
        ),
        Runtime(
            name="ncnn",
            summary="ncnn on its two files in a .zip, in float16 where the CPU computes in it.",
            packages=("ncnn",),
            suffix=".ncnn",
            writers=(("pnnx", later("autoprune.latency.ncnn_files:write_ncnn")),),
            provider="cpu",
            precisions=("fp16",),
            loader=_LOADERS / "ncnn_loader.py",
            makers=("pnnx",),
            extra="ncnn",
            tolerance=0.02,  # 2e-4 with weights in 16 bits and sums in 32; room for sums in 16
        ),
        Runtime(
            name="onnxruntime-int8",
            summary="ONNX Runtime on a .onnx file in INT8, the end of the head in float32.",
            packages=("onnxruntime",),
            suffix=".onnx",
            writers=ONNX_WRITERS,
            provider="CPUExecutionProvider",
            can_slim=True,
            rewritten=True,
            precisions=("int8",),
            quantize=later("autoprune.latency.quantize_onnx:quantize_onnx"),
            in_float="onnxruntime",
            makers=("onnxruntime",),
            tolerance=0.75,  # 0.15 to 0.45 on the demo, whose mAP falls by 0.4 points
        ),
        Runtime(
            name="openvino-int8",
            summary="OpenVINO on its two files in a .zip, in INT8, the head's end in float32.",
            packages=("openvino",),
            suffix=".openvino",
            writers=ONNX_WRITERS,
            provider="CPU",
            precisions=("int8",),
            loader=_LOADERS / "openvino_loader.py",
            quantize=later("autoprune.latency.quantize_openvino:quantize_openvino"),
            in_float="openvino",
            makers=("openvino", "nncf"),
            extra="openvino-int8",
            tolerance=0.75,
        ),
        Runtime(
            name="tensorrt",
            summary="TensorRT on a .onnx file, by ONNX Runtime's TensorrtExecutionProvider on the"
            " target; not tried.",
            packages=("onnxruntime",),
            suffix=".onnx",
            writers=ONNX_WRITERS,
            provider="TensorrtExecutionProvider",
            can_slim=True,
            precisions=("fp32", "fp16"),
            on_gpu=True,
            compile_s=300.0,  # an engine is built as the file is loaded
            tried=False,
        ),
    ],
)
DEFAULT_RUNTIME = "onnxruntime"


TIMING_ONLY = "INT8 with noise in place of images: right for the time, not for mAP"


def not_tried() -> str:
    """The shipped runtimes that were never run, as an addition to a list of all; may be empty."""
    names = [row.name for row in RUNTIMES.shipped() if not row.tried]
    return f" (not tried: {', '.join(names)})" if names else ""


def with_layouts() -> str:
    """The shipped runtimes whose memory layout can be chosen, in a sentence."""
    return " or ".join(row.name for row in RUNTIMES.shipped() if row.channels_last)
