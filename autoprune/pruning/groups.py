"""ChannelGroup: channels that must be removed together, with every weight axis they touch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class AxisSlice:
    """Consecutive channels on one axis of one parameter or buffer.

    Attributes:
        module: Dotted name inside the model of the module that holds the tensor.
        offset: First channel of the slice on that axis.
        tensor: The tensor's name in its module.
        axis: 0 for what a convolution makes, 1 for what it reads; the other way round in a
            transposed one.
        norm: Name of the batch norm that reads what a convolution gives; "" if there is none.
    """

    module: str
    offset: int
    tensor: str = "weight"
    axis: int = 0
    norm: str = ""

    @property
    def name(self) -> str:
        """The tensor's name in the model."""
        return f"{self.module}.{self.tensor}" if self.module else self.tensor


@dataclass(frozen=True)
class ChannelGroup:
    """Channels 0 .. width-1 of one feature map, wherever they are made and used.

    Removing channel c removes position `offset + c` of every slice. A consumer that reads the map
    several times (SPPF) is listed once per reading.

    Attributes:
        name: Unique, readable: "4.cv1.b", "9.cv1", "22.cv2.0.1".
        index: Layer index whose plan entry decides how many channels stay.
        entry: Position in that entry: 0, or more in a head's.
        width: Channels today.
        producers: Weights of layers that make these channels; several when residuals add up.
        consumers: Weights of layers that read them.
        riders: What has a number for each of them: biases, batch norms, depthwise convolutions.
        step: The number that stays is a multiple of this ...
        cluster: ... and the same multiple in all groups of one cluster: the halves of a C2f, the
            heads of an attention. The name of its first group.
    """

    name: str
    index: int
    entry: int
    width: int
    producers: tuple[AxisSlice, ...]
    consumers: tuple[AxisSlice, ...]
    riders: tuple[AxisSlice, ...] = ()
    step: int = 1
    cluster: str = ""


@dataclass(frozen=True)
class SizeAttribute:
    """An attribute of a module that counts channels, such as C2f's `c`.

    Attributes:
        module: Dotted name inside the model.
        name: The attribute's.
        position: In it, where it is a list.
        fixed: What it counts that no plan removes.
        groups: Names of the groups it counts, one as often as it counts it.
    """

    module: str
    name: str
    position: int | None
    fixed: int
    groups: tuple[str, ...]


@dataclass(frozen=True)
class FrozenChannels:
    """Channels that stay, whatever a plan says.

    Attributes:
        name: Like a group's.
        index: The layer that makes them.
        width: How many.
        reasons: Why, each with the module where it was seen: "nothing is known of einsum @ ...".
    """

    name: str
    index: int
    width: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class ChannelMap:
    """All channels of a model.

    Attributes:
        groups: What can be removed, in the order in which the forward pass makes it.
        frozen: What cannot.
        sizes: Attributes that follow.
    """

    groups: tuple[ChannelGroup, ...]
    frozen: tuple[FrozenChannels, ...] = ()
    sizes: tuple[SizeAttribute, ...] = ()


def norm_after(part: AxisSlice, modules: Mapping[str, nn.Module]) -> nn.BatchNorm2d | None:
    """The batch norm behind a convolution; None without one, as in a fused model."""
    norm = modules.get(part.norm) if part.norm else None
    return norm if isinstance(norm, nn.BatchNorm2d) else None


def output_first(layer: nn.Module, weight: Tensor) -> Tensor:
    """A convolution's weight, or anything in its shape, as (outputs, inputs, height, width)."""
    return weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight
