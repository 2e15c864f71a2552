"""Attention blocks in an ONNX graph: which constants follow the width of their values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Attention:
    """One block: a convolution gives queries, keys and values of every head in one map.

    Attributes:
        conv: Name of that convolution.
        heads: How many.
        parts: Channels of a head's queries, keys and values; the last ones follow the width.
        apart: Position of the node that lays the heads out, (1, heads, channels, pixels).
        split: Position of the node that takes queries, keys and values apart.
        together: Positions of the nodes that make maps of the heads again.
        maps: Shape of such a map, (1, channels, height, width).
        products: Positions of its two products of maps.
    """

    conv: str
    heads: int
    parts: tuple[int, ...]
    apart: int
    split: int
    together: tuple[int, ...]
    maps: tuple[int, ...]
    products: tuple[int, ...]

    def constants(self, width: int) -> Iterator[tuple[int, Array]]:
        """Position of a node -> what its second input becomes.

        Args:
            width: Channels that `conv` gives.
        """
        each = width // self.heads
        values = each - sum(self.parts[:-1])
        pixels = self.maps[2] * self.maps[3]
        yield self.apart, np.array([1, self.heads, each, pixels], dtype=np.int64)
        yield self.split, np.array([*self.parts[:-1], values], dtype=np.int64)
        for position in self.together:
            yield (
                position,
                np.array([1, self.heads * values, *self.maps[2:]], dtype=np.int64),
            )


def attentions(
    nodes: list[Any], constants: Mapping[str, Array], conv_behind: Callable[[Any], str | None]
) -> Iterator[Attention]:
    """Find them.

    Args:
        nodes: Of the graph, in order.
        constants: Name -> value, of all that is constant in it.
        conv_behind: A node -> name of the convolution that it reads; None if it reads none.
    """
    readers: dict[str, list[int]] = {}
    for position, node in enumerate(nodes):
        for name in node.input:
            readers.setdefault(name, []).append(position)
    for position, node in enumerate(nodes):
        shape = constants.get(node.input[1]) if node.op_type == "Reshape" else None
        conv = None if shape is None or len(shape) != 4 else conv_behind(node)
        splits = [at for at in readers.get(node.output[0], ()) if nodes[at].op_type == "Split"]
        if shape is None or conv is None or len(splits) != 1:
            continue
        (split,) = splits
        sizes = constants.get(nodes[split].input[1]) if len(nodes[split].input) > 1 else None
        if sizes is None or len(sizes) != 3 or int(sum(sizes)) != int(shape[2]):
            continue
        found = _behind(nodes, readers, nodes[split].output)
        together = tuple(sorted(at for at in found if nodes[at].op_type == "Reshape"))
        maps = [tuple(map(int, constants.get(nodes[at].input[1], ()))) for at in together]
        if maps and len(set(maps)) == 1 and len(maps[0]) == 4:
            yield Attention(
                conv,
                int(shape[1]),
                tuple(map(int, sizes)),
                position,
                split,
                together,
                maps[0],
                tuple(sorted(at for at in found if nodes[at].op_type == "MatMul")),
            )


_WITHIN = {"Mul", "Transpose", "MatMul", "Softmax", "QuantizeLinear", "DequantizeLinear"}


def _behind(nodes: list[Any], readers: Mapping[str, list[int]], names: Any) -> set[int]:
    """All nodes that are reached from some tensors, up to the first that makes maps again."""
    found: set[int] = set()
    waiting = list(names)
    while waiting:
        for position in readers.get(waiting.pop(), ()):
            node = nodes[position]
            if position not in found and node.op_type in (*_WITHIN, "Reshape"):
                found.add(position)
                if node.op_type != "Reshape":
                    waiting.extend(node.output)
    return found
