"""Exports a detector for a runtime, with a reference output that proves the file right.

Which ONNX exporter: compared on yolov8n at 160 px (ONNX Runtime 1.32, torch 2.15, AVX-512, one
thread, the two files timed interleaved, twice; the machine was busy, so export times are long):

              TorchScript / dynamo time     differ from torch       export, s: dynamo, TorchScript
    dense     0.997, 0.999 (+- 0.4 %)       1.2e-4 px of 485, both  4.6, 4.1
    31 % off  0.991, 0.994 (+- 0.4 %)       0.9e-4 px of 486, both  4.8, 3.1

Correct alike and equally fast within 1 %, so `dynamo=True` is the default; the TorchScript
exporter, which torch has announced to remove, is the fallback.
"""

from __future__ import annotations

import contextlib
import copy
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from autoprune.errors import TrialFailed
from autoprune.latency.denormals import output_and_denormals
from autoprune.latency.exported_model import ExportedModel
from autoprune.latency.onnx_metadata import write_metadata
from autoprune.latency.operator_table import operator_table_made_once
from autoprune.latency.quantizing import Quantizing, quantized_writer
from autoprune.latency.rewrites import rewrite_in_place
from autoprune.latency.runtimes import RUNTIMES

__all__ = ["ExportedModel", "export_model", "folded", "quietly", "write_references"]

OPSET = 18
_REFERENCE_SEED = 0


def export_model(
    model: nn.Module,
    path: Path,
    imgsz: tuple[int, int],
    runtime: str,
    after: str | None = None,
    rewritten: bool = True,
    quantizing: Quantizing | None = None,
) -> ExportedModel:
    """Write a model for a runtime at batch 1 and a fixed image size.

    Next to the file, an input (fixed seed) and the stock layers' outputs for it are written as
    .npy; the measuring process compares them with the file's before it times anything. This
    proves the rewrites and the exporter on this very model.

    Args:
        model: An Ultralytics detection module, or any module of one image input; never changed.
        path: File to write, with the runtime's suffix; its folder is created.
        imgsz: Height and width in pixels.
        runtime: A name in the table of runtimes; its exporters are tried in their order.
        after: An exporter whose file turned out to be wrong: only those after it are tried.
        rewritten: Whether the graph is rewritten, if that is faster under this runtime.
        quantizing: What an INT8 runtime's file is made with; None: noise, for timing only.

    Raises:
        ConfigError: No such runtime, or a module that writes its files is not installed.
        TrialFailed: "export" when no exporter writes a file, or none is left to try; "oom".
    """
    row = RUNTIMES.row(runtime, "--runtime")
    row.refuse_without_makers()
    quantizing = quantizing or Quantizing()
    writers = row.writers
    if after is not None:
        known = [exporter for exporter, _ in writers]
        writers = writers[known.index(after) + 1 :] if after in known else ()
        if not writers:
            raise TrialFailed("export", f"{path.name}: no exporter is left after {after}")
    path.parent.mkdir(parents=True, exist_ok=True)
    problems: list[str] = []
    with quietly(), torch.no_grad():
        try:
            plain = folded(model)
            image = _reference_image(plain, imgsz)
            if row.quantize is not None:  # noise is far from what its maps' ranges are for
                image = torch.from_numpy(next(quantizing.pictures(tuple(image.shape))))
            output, denormals = output_and_denormals(plain, image)
            denormals = None if row.quantize is not None else denormals
            reference = _write_reference(output, image, path)
            ready = rewrite_in_place(copy.deepcopy(plain)) if rewritten and row.rewritten else plain
        except Exception as error:
            raise _failed(path, [str(error) or type(error).__name__], error) from None
    for exporter, write in writers:
        try:
            with quietly(), torch.no_grad():
                if row.quantize is not None:
                    write = quantized_writer(write, row.quantize, quantizing)
                write(copy.deepcopy(ready), image, path)
            listed = any(getattr(part, "end2end", False) for part in model.modules())
            return ExportedModel(path, runtime, imgsz, exporter, reference, listed, denormals)
        except MemoryError as error:
            raise _failed(path, problems, error) from None
        except Exception as error:  # exporters raise whatever the operator at fault raises
            problems.append(f"{exporter}: {error or type(error).__name__}")
    path.unlink(missing_ok=True)
    raise _failed(path, problems, None)


def write_references(
    model: nn.Module, images: torch.Tensor, folder: Path
) -> tuple[tuple[Path, ...], ...]:
    """Write images, and the outputs that an exported file has to give for them, as .npy.

    Args:
        model: As for `export_model`.
        images: (images, channels, height, width), float32 in [0, 1].
        folder: Receives them.

    Returns:
        Of each image the files of it and of its outputs, as in `ExportedModel.reference`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plain = folded(model)
    written = []
    with quietly(), torch.no_grad():
        for number, image in enumerate(images):
            path = folder / f"image{number}.npy"
            written.append(_write_reference(plain(image[None]), image[None], path))
    return tuple(written)


def folded(model: nn.Module) -> nn.Module:
    """A float32 CPU copy as deployed: batch-norms folded, C2f split, the head decoding.

    A head with two branches is deployed with one.

    Weights below the smallest normal number, 1.2e-38, are 0 in it.

    The parts are known by their attributes, so that pruned and user-made modules work alike.
    """
    ready = copy.deepcopy(model).cpu().float().eval()
    for module in ready.modules():
        conv, norm = getattr(module, "conv", None), getattr(module, "bn", None)
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            module.conv = fuse_conv_bn_eval(conv, norm)
            module.bn = nn.Identity()
        split: Any = getattr(module, "forward_split", None)
        if split is not None:
            module.forward = split  # one Split node; chunk() exports as a Slice per half
        if hasattr(module, "reg_max") and hasattr(module, "export"):
            head: Any = module
            head.export, head.format, head.dynamic, head.shape = True, "onnx", False, None
            if getattr(head, "one2one_cv2", None) is not None and head.cv2 is not None:
                head.fuse()  # leaves the branch that `end2end` says
    return _without_denormals(ready.requires_grad_(False))


def _without_denormals(model: nn.Module) -> nn.Module:
    """Set weights below the smallest normal number to 0, in place: CPUs compute them far slower.

    A convolution with a third of them took 1.6 times as long, which pruning would be credited with.
    The runner flushes denormals, but ONNX Runtime cannot do so on ARM, nor does it in deployment.
    """
    for tensor in model.parameters():
        tensor.masked_fill_(tensor.abs() < torch.finfo(tensor.dtype).tiny, 0.0)
    return model


def _write_onnx(model: nn.Module, image: torch.Tensor, path: Path, dynamo: bool) -> None:
    outputs = len(_tensors(model(image)))
    torch.onnx.export(
        model,
        (image,),
        path,
        input_names=["images"],
        output_names=[f"output{number}" for number in range(outputs)],
        opset_version=OPSET,
        dynamo=dynamo,
        external_data=False,
        verbose=False,
    )
    write_metadata(model, image, path, OPSET)


def write_dynamo(model: nn.Module, image: torch.Tensor, path: Path) -> None:
    """A .onnx file by torch's newer exporter."""
    with operator_table_made_once():
        _write_onnx(model, image, path, dynamo=True)


def write_torchscript(model: nn.Module, image: torch.Tensor, path: Path) -> None:
    """A .onnx file by torch's older exporter."""
    _write_onnx(model, image, path, dynamo=False)


def write_program(model: nn.Module, image: torch.Tensor, path: Path) -> None:
    """A .pt2 file: a `torch.export` program."""
    torch.export.save(torch.export.export(model, (image,)), path)


def _reference_image(model: nn.Module, imgsz: tuple[int, int]) -> torch.Tensor:
    convs = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    first = next(convs, None)
    channels = first.in_channels if first is not None else 3
    shape = (1, channels, *imgsz)
    image = np.random.default_rng(_REFERENCE_SEED).random(shape, dtype=np.float32)
    return torch.from_numpy(image)


def _write_reference(output: Any, image: torch.Tensor, path: Path) -> tuple[Path, ...]:
    outputs = _tensors(output)
    if not all(torch.isfinite(each).all() for each in outputs):
        raise ValueError("torch's own output is nan or inf")
    names = ["expected", *(f"expected{number}" for number in range(1, len(outputs)))]
    files = [path.with_suffix(f".{name}.npy") for name in ("input", *names)]
    for file, tensor in zip(files, (image, *outputs), strict=True):
        np.save(file, tensor.numpy())
    return tuple(files)


def _tensors(output: Any) -> list[torch.Tensor]:
    """A model's outputs: decoded objects, and the prototypes of masks where it has those."""
    if isinstance(output, torch.Tensor):
        return [output]
    return [each for each in output if isinstance(each, torch.Tensor)]


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Exporters warn of their own internals and print progress: nothing a user could act on."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


def _failed(path: Path, problems: list[str], error: Exception | None) -> TrialFailed:
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return TrialFailed("oom", f"{path.name}: out of memory while exporting")
    lines = "; ".join(" ".join(problem.split())[:200] for problem in problems)
    return TrialFailed("export", f"{path.name}: {lines}")
