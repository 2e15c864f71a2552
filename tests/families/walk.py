"""YOLOv8's channel groups by a walk over its layers: what the engine is held against."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn
from ultralytics.nn.modules import C2, SPPF, Bottleneck, C2f, Concat, Conv, Detect

from autoprune.errors import UnsupportedModel
from autoprune.pruning.groups import AxisSlice, ChannelGroup


@dataclass(eq=False)
class _Group:
    """A ChannelGroup while the graph is being walked."""

    name: str
    index: int
    entry: int
    width: int
    producers: list[AxisSlice] = field(default_factory=list)
    consumers: list[AxisSlice] = field(default_factory=list)


@dataclass(frozen=True)
class _Fixed:
    """Channels nobody may remove: the network's input."""

    width: int


# A feature map is the concatenation of whole groups (and fixed channels), in channel order.
_FeatureMap = list[_Group | _Fixed]

Layer = Any
"""An Ultralytics module: its attributes (cv1, m, f, ...) are set dynamically and not typed."""


def channel_groups(model: nn.Module) -> list[ChannelGroup]:
    """Walk the graph once, following each feature map from its makers to its readers.

    Raises:
        UnsupportedModel: A layer this family does not know.
    """
    return _GraphWalk(model).run()


class _GraphWalk:
    """One pass over `model.model`; `maps[i]` is layer i's output."""

    def __init__(self, model: nn.Module) -> None:
        self.layers = _layers(model)
        self.groups: list[_Group] = []
        self.maps: list[_FeatureMap] = []

    def run(self) -> list[ChannelGroup]:
        image: _FeatureMap = [_Fixed(_in_channels(self.layers[0]))]
        layer: Layer
        for index, layer in enumerate(self.layers):
            sources = [layer.f] if isinstance(layer.f, int) else list(layer.f)
            inputs = [
                image if index == 0 else self.maps[index - 1 if source == -1 else source]
                for source in sources
            ]
            self.maps.append(self._walk_layer(index, layer, inputs))
        for group in self.groups:
            if not group.consumers:
                raise UnsupportedModel(
                    f"model.{group.index}: no layer reads its output ({group.name}), expected a"
                    " network without loose ends"
                )
        return [
            ChannelGroup(g.name, g.index, g.entry, g.width, tuple(g.producers), tuple(g.consumers))
            for g in self.groups
        ]

    def _walk_layer(self, index: int, layer: Layer, inputs: list[_FeatureMap]) -> _FeatureMap:
        at = f"model.{index}"
        if type(layer) is Conv:
            return self._conv(layer, at, str(index), index, inputs[0])
        if type(layer) is C2f:
            return self._c2f(layer, at, index, inputs[0])
        if type(layer) is C2:
            return self._c2(layer, at, index, inputs[0])
        if type(layer) is SPPF:
            return self._sppf(layer, at, index, inputs[0])
        if type(layer) is nn.Upsample:
            return inputs[0]
        if type(layer) is Concat and layer.d == 1:
            return [part for feature_map in inputs for part in feature_map]
        if type(layer) is Detect and index == len(self.layers) - 1:
            return self._detect(layer, at, index, inputs)
        raise _unsupported(index, layer)

    def _conv(
        self, conv: Layer, at: str, name: str, index: int, source: _FeatureMap, entry: int = 0
    ) -> _FeatureMap:
        """A Conv block: reads `source`, makes one new group."""
        self._check_conv(conv, at, index)
        self._read(source, f"{at}.conv")
        return [self._group(name, index, entry, _out_channels(conv), AxisSlice(at, 0))]

    def _halves(
        self, block: Layer, at: str, index: int, source: _FeatureMap
    ) -> tuple[_Group, _Group]:
        """The 1x1 convolution whose output C2 and C2f split into two equal halves."""
        self._check_conv(block.cv1, f"{at}.cv1", index)
        self._read(source, f"{at}.cv1.conv")
        half = _out_channels(block.cv1) // 2
        first = self._group(f"{index}.cv1.a", index, 0, half, AxisSlice(f"{at}.cv1", 0))
        second = self._group(f"{index}.cv1.b", index, 0, half, AxisSlice(f"{at}.cv1", half))
        return first, second

    def _c2f(self, block: Layer, at: str, index: int, source: _FeatureMap) -> _FeatureMap:
        first, second = self._halves(block, at, index, source)
        parts = [first, second]
        for number, bottleneck in enumerate(block.m):
            parts.append(self._bottleneck(bottleneck, f"{at}.m.{number}", index, parts[-1]))
        return self._conv(block.cv2, f"{at}.cv2", f"{index}.cv2", index, list(parts))

    def _c2(self, block: Layer, at: str, index: int, source: _FeatureMap) -> _FeatureMap:
        passed, second = self._halves(block, at, index, source)
        for number, bottleneck in enumerate(block.m):
            passed = self._bottleneck(bottleneck, f"{at}.m.{number}", index, passed)
        return self._conv(block.cv2, f"{at}.cv2", f"{index}.cv2", index, [passed, second])

    def _bottleneck(self, block: Layer, at: str, index: int, source: _Group) -> _Group:
        """Two convolutions; a residual one adds its output to `source`, so it joins that group."""
        if type(block) is not Bottleneck:
            raise _unsupported(index, block)
        name = at.removeprefix("model.")
        hidden = self._conv(block.cv1, f"{at}.cv1", f"{name}.cv1", index, [source])
        if not block.add:
            made = self._conv(block.cv2, f"{at}.cv2", f"{name}.cv2", index, hidden)[0]
            assert isinstance(made, _Group)
            return made
        self._check_conv(block.cv2, f"{at}.cv2", index)
        self._read(hidden, f"{at}.cv2.conv")
        source.producers.append(AxisSlice(f"{at}.cv2", 0))
        return source

    def _sppf(self, block: Layer, at: str, index: int, source: _FeatureMap) -> _FeatureMap:
        if getattr(block, "add", False):
            raise _unsupported(index, block)
        hidden = self._conv(block.cv1, f"{at}.cv1", f"{index}.cv1", index, source)
        readings = hidden * (getattr(block, "n", 3) + 1)  # older checkpoints carry no n
        return self._conv(block.cv2, f"{at}.cv2", f"{index}.cv2", index, readings)

    def _detect(self, head: Layer, at: str, index: int, inputs: list[_FeatureMap]) -> _FeatureMap:
        if getattr(head, "one2one_cv2", None) is not None:
            raise _unsupported(index, head)
        for entry, tower in enumerate(("cv2", "cv3")):
            for level, source in enumerate(inputs):
                convs = list(getattr(head, tower)[level])
                if type(convs[-1]) is not nn.Conv2d or convs[-1].groups != 1:
                    raise _unsupported(index, convs[-1])
                passed = source
                for depth, conv in enumerate(convs[:-1]):
                    name = f"{tower}.{level}.{depth}"
                    passed = self._conv(
                        conv, f"{at}.{name}", f"{index}.{name}", index, passed, entry
                    )
                self._read(passed, f"{at}.{tower}.{level}.{len(convs) - 1}")
        return []

    def _group(self, name: str, index: int, entry: int, width: int, producer: AxisSlice) -> _Group:
        group = _Group(name, index, entry, width, [producer])
        self.groups.append(group)
        return group

    @staticmethod
    def _read(source: _FeatureMap, conv: str) -> None:
        offset = 0
        for part in source:
            if isinstance(part, _Group):
                part.consumers.append(AxisSlice(conv, offset))
            offset += part.width

    def _check_conv(self, conv: Layer, at: str, index: int) -> None:
        if type(conv) is not Conv:
            raise UnsupportedModel(
                f"layer {index}: {at} is {type(conv).__name__}, which the yolov8 family cannot"
                " prune (not a plain Conv)"
            )


def _layers(model: nn.Module) -> nn.Sequential:
    layers = getattr(model, "model", None)
    wired = isinstance(layers, nn.Sequential) and all(hasattr(layer, "f") for layer in layers)
    if not isinstance(layers, nn.Sequential) or not len(layers) or not wired:
        raise UnsupportedModel(
            f"got {type(model).__name__}, expected an Ultralytics YOLOv8 detection model"
        )
    return layers


def _tower_width(tower: Layer) -> int:
    """Widest hidden convolution of a Detect tower, over all levels."""
    return max(_out_channels(conv) for level in tower for conv in list(level)[:-1])


def _out_channels(conv: Layer) -> int:
    return int(conv.conv.out_channels)


def _in_channels(layer: Layer) -> int:
    if type(layer) is not Conv:
        raise _unsupported(0, layer)
    return int(layer.conv.in_channels)


def _unsupported(index: int, layer: Layer) -> UnsupportedModel:
    return UnsupportedModel(
        f"layer {index}: got {type(layer).__name__}, expected a layer of a YOLOv8 detection model"
        " (Conv, C2f, C2, SPPF, Upsample, Concat, Detect)"
    )
