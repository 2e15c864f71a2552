"""What an INT8 file is made with: images, the parts that stay in float, the target's arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from autoprune.latency.bundle import model_metadata
from autoprune.latency.rewrites.names import whole_name
from autoprune.storage.scratch import scratch_folder

if TYPE_CHECKING:
    from autoprune.latency.runtimes import Writer

Array = np.ndarray[Any, Any]

IMAGES = 64
"""Training images that show the range of every map.

On the demo 32 gave mAP50-95 0.737 and 256 gave 0.737, of 0.741 in float (ONNX Runtime, AVX2).
"""
_NOISE_IMAGES = 2
_NOISE_SEED = 1


@dataclass(frozen=True)
class Quantizing:
    """How a float file becomes an INT8 one.

    Attributes:
        images: Float32 images (1, channels, height, width), 0 to 1, at the size of the file, that
            show the range of every map; gone through once per file. None: noise, which is enough
            for files that are only timed.
        full_range: Whether the target's CPU adds up products of 8 bits without overflow. Elsewhere
            weights get 7.
    """

    images: Iterable[Array] | None = None
    full_range: bool = False

    def pictures(self, shape: tuple[int, ...]) -> Iterator[Array]:
        """The images, or noise of that shape."""
        if self.images is not None:
            yield from self.images
            return
        dice = np.random.default_rng(_NOISE_SEED)
        for _ in range(_NOISE_IMAGES):
            yield dice.random(shape, dtype=np.float32)


Quantizer = Callable[[Path, Path, "FloatFile", Quantizing], None]


@dataclass(frozen=True)
class FloatFile:
    """What a quantizer must know of the float .onnx file.

    Attributes:
        shape: Of its input.
        kept: Names of the nodes that stay in float.
        metadata: What is said of the model in formats that hold it beside the file.
    """

    shape: tuple[int, ...]
    kept: tuple[str, ...]
    metadata: dict[str, Any]


def quantized_writer(write: Writer, quantize: Quantizer, quantizing: Quantizing) -> Writer:
    """The writer of INT8 files after a writer of .onnx files."""

    def both(model: nn.Module, image: torch.Tensor, path: Path) -> None:
        with scratch_folder("float") as folder:
            plain = Path(folder) / "model.onnx"
            write(model, image, plain)
            kept = kept_in_float(plain, head_ends(model))
            known = FloatFile(tuple(image.shape), kept, model_metadata(model, image, "int8"))
            quantize(plain, path, known, quantizing)

    return both


def head_ends(model: nn.Module) -> tuple[str, ...]:
    """Names of the convolutions in which a detector's head ends, and of those that decode.

    They are bare convolutions in a head of convolutions with norm and activation. Boxes in pixels
    and scores near 0 and 1 need more than 8 bits.
    """
    found = []
    for name, module in model.named_modules():
        if not (hasattr(module, "reg_max") and hasattr(module, "export")):
            continue
        wrapped = {
            id(part.conv)
            for part in module.modules()
            if hasattr(part, "act") and hasattr(part, "conv")
        }
        found += [
            f"{name}.{inner}" if name else inner
            for inner, part in module.named_modules()
            if isinstance(part, nn.Conv2d) and id(part) not in wrapped
        ]
    return tuple(found)


def kept_in_float(path: Path, ends: Iterable[str]) -> tuple[str, ...]:
    """Names of the nodes of a .onnx file that are those convolutions or read what they made.

    Args:
        path: A file whose weights carry the names of the torch modules.
        ends: See `head_ends`.
    """
    import onnx  # half a second: only where models are made

    graph = onnx.load(path).graph
    wanted, reached, names = set(ends), set[str](), []
    for node in graph.node:  # in an order in which makers come first
        weight = node.input[1] if len(node.input) > 1 else ""
        is_end = node.op_type == "Conv" and whole_name(weight.removesuffix(".weight")) in wanted
        if is_end or not reached.isdisjoint(node.input):
            reached.update(node.output)
            names.append(node.name)
    return tuple(names)
