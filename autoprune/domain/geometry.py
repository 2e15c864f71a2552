"""ModelGeometry: how every convolution's shape follows from the kept channels, as plain numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_USUAL = "SiLU"


@dataclass(frozen=True)
class ConvGeometry:
    """One convolution of a model: what it reads, what it writes, on how many pixels.

    Attributes:
        name: Dotted module name of the `nn.Conv2d`.
        reads: Positions of the channel groups on its input axis, in order; a group that is read
            several times (SPPF) stands there as often.
        fixed_in: Input channels that belong to no group (the image's).
        writes: Positions of the groups on its output axis; two where the output is split.
        fixed_out: Output channels that belong to no group (the last layer of a Detect tower).
        kernel: Height and width.
        stride: Along height and width, in pixels.
        input_size: Height and width of its input map, in pixels.
        output_size: Height and width of its output map, in pixels.
        activated: Whether an activation follows.
        depthwise: Whether each output reads one channel alone. Then `reads` is empty and
            `fixed_in` 1.
    """

    name: str
    reads: tuple[int, ...]
    fixed_in: int
    writes: tuple[int, ...]
    fixed_out: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    input_size: tuple[int, int]
    output_size: tuple[int, int]
    activated: bool
    depthwise: bool = field(default=False, repr=False)


@dataclass(frozen=True)
class ModelGeometry:
    """A dense model's convolutions and channel groups at one image size.

    Attributes:
        groups: Names of the channel groups, in the order of `Pruner.signature`.
        widths: Channels of each group in the dense model.
        convs: Every convolution of one forward pass that a plan can change, or not.
        imgsz: Height and width in pixels.
        activation: Class names of the activations.
    """

    groups: tuple[str, ...]
    widths: tuple[int, ...]
    convs: tuple[ConvGeometry, ...]
    imgsz: tuple[int, int]
    activation: str = field(default=_USUAL, repr=False)

    def channels(self, kept: Array) -> tuple[Array, Array]:
        """Input and output channels of every convolution.

        Args:
            kept: Kept channels per group, shape (plans, groups).

        Returns:
            Two arrays of shape (plans, convs).
        """
        reads, writes, fixed_in, fixed_out = self._wiring
        kept = np.asarray(kept, dtype=np.float64)
        return kept @ reads + fixed_in, kept @ writes + fixed_out

    def reading(self, marked: Array) -> Array:
        """Which convolutions read a marked group: (plans, groups) -> (plans, convs), booleans."""
        reads = self._wiring[0]
        found: Array = np.asarray(marked, dtype=np.float64) @ reads > 0
        return found

    def macs(self, kept: Array) -> Array:
        """The convolutions' multiply-accumulates at batch 1, (plans, groups) -> (plans,).

        An attention's products of feature maps are left out, which `model_size` counts.
        """
        inputs, outputs = self.channels(kept)
        per_pair = [
            conv.kernel[0] * conv.kernel[1] * conv.output_size[0] * conv.output_size[1]
            for conv in self.convs
        ]
        return np.asarray((inputs * outputs) @ np.array(per_pair, dtype=np.float64))

    def conv_widths(self, kept: Sequence[int]) -> dict[str, tuple[int, int]]:
        """Input and output channels of every convolution, for one kept width per group."""
        inputs, outputs = self.channels(np.array([kept]))
        return {
            conv.name: (int(given), int(made))
            for conv, given, made in zip(self.convs, inputs[0], outputs[0], strict=True)
        }

    @cached_property
    def depthwise(self) -> Array:
        """Which convolutions are, (convs,)."""
        return np.array([conv.depthwise for conv in self.convs])

    @cached_property
    def joined(self) -> Array:
        """Which convolutions read several groups, (convs,)."""
        return np.array([len(conv.reads) > 1 for conv in self.convs])

    @cached_property
    def written_parts(self) -> Array:
        """How many groups each convolution writes, at least 1, (convs,)."""
        return np.array([max(1, len(conv.writes)) for conv in self.convs])

    @cached_property
    def digest(self) -> str:
        """Short hash of everything a latency depends on: equal for equal geometries."""
        text = repr(self) + (self.activation if self.activation != _USUAL else "")
        text += "".join(f" {conv.name}" for conv in self.convs if conv.depthwise)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def _wiring(self) -> tuple[Array, Array, Array, Array]:
        """How often each conv reads and writes each group, (groups, convs), and fixed channels."""
        reads, writes = (np.zeros((len(self.groups), len(self.convs))) for _ in range(2))
        for column, conv in enumerate(self.convs):
            np.add.at(reads[:, column], list(conv.reads), 1.0)
            np.add.at(writes[:, column], list(conv.writes), 1.0)
        fixed_in = np.array([conv.fixed_in for conv in self.convs], dtype=np.float64)
        fixed_out = np.array([conv.fixed_out for conv in self.convs], dtype=np.float64)
        return reads, writes, fixed_in, fixed_out
