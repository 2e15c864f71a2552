"""ChannelGroup: channels that must be removed together, with every weight axis they touch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AxisSlice:
    """`width` consecutive channels on one axis of one convolution.

    Attributes:
        module: Dotted name inside the model. For a producer, a block holding `conv` (and `bn`
            unless fused); for a consumer, the `nn.Conv2d` itself.
        offset: First channel of the slice on that axis.
    """

    module: str
    offset: int


@dataclass(frozen=True)
class ChannelGroup:
    """Channels 0 .. width-1 of one feature map, wherever they are made and used.

    Removing channel c removes row `offset + c` of every producer and input column `offset + c`
    of every consumer. A consumer that reads the map several times (SPPF) is listed once per
    reading.

    Attributes:
        name: Unique, readable: "4.cv1.b", "9.cv1", "22.cv2.0.1".
        index: Layer index whose plan entry decides how many channels stay.
        entry: Position in that entry: 0, or 1 for Detect's classification tower.
        width: Channels today.
        producers: Output axes that write these channels; several when residuals add up.
        consumers: Input axes that read them.
    """

    name: str
    index: int
    entry: int
    width: int
    producers: tuple[AxisSlice, ...]
    consumers: tuple[AxisSlice, ...]
