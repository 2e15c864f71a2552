"""Writes an ONNX model with other channel counts: right shapes, meaningless numbers.

Latency depends on shapes only, so timing a plan needs no pruning and no export: the dense file's
weights are cut to their first channels. Milliseconds instead of seconds per plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autoprune.latency.rewrites.names import (
    COARSE_COLUMNS,
    columns_of,
    half_of,
    whole_name,
)
from autoprune.latency.slim_attention import attentions

_PASS_CHANNELS_ON = {
    "Sigmoid", "Mul", "HardSwish", "Relu", "LeakyRelu", "QuickGelu", "Swish", "Gelu", "Clip",
    "Mish", "Elu", "Selu", "Celu", "PRelu", "Softplus", "HardSigmoid", "Tanh", "Softsign",
    "QuantizeLinear", "DequantizeLinear",
}  # fmt: skip
_WITH_WIDTHS = {"Einsum", "Attention", "GroupNormalization"}
_CONVOLUTIONS = ("Conv", "ConvTranspose")
_DEQUANTIZED = "_DequantizeLinear_Output"  # in ONNX Runtime's names of what an INT8 weight becomes


class SlimmableOnnx:
    """A dense exported detector, read once, written in any widths."""

    def __init__(self, dense: Path) -> None:
        """Read the dense file.

        Args:
            dense: An .onnx file written by `export_model`, in float or INT8, whose weights carry
                the names of the torch modules.
        """
        import onnx  # half a second: only where models are made

        self._onnx = onnx
        self._model = onnx.load(str(dense))
        graph = self._model.graph
        del graph.value_info[:]  # shapes of the dense maps
        convs = [(at, each) for at, each in enumerate(graph.node) if each.op_type in _CONVOLUTIONS]
        dequantizers = {
            node.output[0]: tuple(node.input)
            for node in graph.node
            if node.op_type == "DequantizeLinear"
        }
        self._convs = {  # module name -> its weight, then what has an entry per output channel
            _conv_name(node): tuple(
                part for name in node.input[1:] for part in dequantizers.get(name, (name,))
            )
            for _, node in convs
        }
        self._transposed = {
            _conv_name(node) for _, node in convs if node.op_type == "ConvTranspose"
        }
        self._depthwise = {_conv_name(node): at for at, node in convs if _groups(node) > 1}
        self._parts: dict[str, list[str]] = {}  # name in the stock model -> those in the file
        for name in self._convs:
            self._parts.setdefault(whole_name(name), []).append(name)
        names = {name for tensors in self._convs.values() for name in tensors}
        numpy: Any = onnx.numpy_helper
        self._weights = {
            each.name: numpy.to_array(each) for each in graph.initializer if each.name in names
        }
        others = [each for each in graph.initializer if each.name not in names]
        del graph.initializer[:]  # added again by `write`
        graph.initializer.extend(others)
        self._constants = {each.name: numpy.to_array(each) for each in others} | {
            node.output[0]: numpy.to_array(node.attribute[0].t)
            for node in graph.node
            if node.op_type == "Constant" and node.attribute[0].name == "value"
        }
        self._coarse_makers = {  # stock name of a conv in columns -> what writes its coarse map
            whole_name(name): maker
            for position, maker in self._reading_convs("Conv")
            if columns_of(name := _conv_name(graph.node[position])) == COARSE_COLUMNS
        }
        self._attentions = list(attentions(list(graph.node), self._constants, self._conv_behind()))
        self._splits = self._split_sizes()
        self._slices = self._slice_places()

    def covers(self, names: Iterable[str]) -> bool:
        """Whether all these convolutions are in the file, whole or in parts of known widths.

        And whether nothing else in it has a width that is not known.
        """
        known = {at for each in self._attentions for at in each.products}
        nodes = enumerate(self._model.graph.node)
        if any(self._has_widths(node) for at, node in nodes if at not in known):
            return False
        in_columns = {name for name, parts in self._parts.items() if any(map(columns_of, parts))}
        return set(names) <= set(self._parts) - (in_columns - set(self._coarse_makers))

    def write(self, widths: Mapping[str, tuple[int, int]], path: Path) -> Path:
        """Write the model with these widths.

        Args:
            widths: Module name of every convolution of the stock model -> input and output
                channels, none wider than in the dense model. One that the file has as two halves
                gives each half of its output channels. One in columns gives the coarse part the
                channels of the coarse map.
            path: The .onnx file to write.

        Raises:
            KeyError: The dense file lacks a convolution of that name.
        """
        tensors = dict(self._weights)
        for name, (inputs, outputs) in widths.items():
            in_file = self._parts[name]
            width = outputs // len(set(map(half_of, in_file)))
            for conv in in_file:
                weight, *others = self._convs[conv]
                columns = self._columns(conv, inputs, widths)
                rows, read = (columns, width) if conv in self._transposed else (width, columns)
                tensors[weight] = self._weights[weight][:rows, :read]
                tensors |= {each: self._weights[each][:width] for each in others}
        model = self._onnx.ModelProto()
        model.CopyFrom(self._model)
        for name, position in self._depthwise.items():
            if name in widths:
                (groups,) = [a for a in model.graph.node[position].attribute if a.name == "group"]
                groups.i = widths[name][1]
        for each in self._attentions:
            for position, constant in each.constants(widths[each.conv][1]):
                model.graph.node[position].input[1] = key = f"{each.conv}.shape.{position}"
                tensors[key] = constant
        for position, (name, parts) in self._splits.items():
            if name in widths:
                model.graph.node[position].input[1] = key = f"{name}.split"
                tensors[key] = np.full(parts, widths[name][1] // parts, dtype=np.int64)
        for position, (name, parts, number) in self._slices.items():
            if name in widths:
                part = widths[name][1] // parts
                for place, bound in ((1, number * part), (2, (number + 1) * part)):
                    model.graph.node[position].input[place] = key = f"{name}.slice.{bound}"
                    tensors[key] = np.array([bound], dtype=np.int64)
        used = {name for node in model.graph.node for name in node.input}
        kept = [each for each in model.graph.initializer if each.name in used]
        del model.graph.initializer[:]  # constants that were replaced
        model.graph.initializer.extend(kept)
        model.graph.initializer.extend(
            self._onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
            for name, array in tensors.items()
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(model.SerializeToString())
        return path

    def _has_widths(self, node: Any) -> bool:
        """Whether a node that is no convolution depends on how many channels there are."""
        if node.op_type in _CONVOLUTIONS:  # each group must be one channel
            weight = self._weights[self._convs[_conv_name(node)][0]]
            return _groups(node) > 1 and weight.shape[1] != 1
        if node.op_type == "MatMul":  # of two maps; one with constants is the decoding of boxes
            return not any(name in self._constants for name in node.input)
        return node.op_type in _WITH_WIDTHS

    def _columns(self, conv: str, inputs: int, widths: Mapping[str, tuple[int, int]]) -> int:
        """Input channels of what is in the file, for a stock convolution that has `inputs`."""
        columns = columns_of(conv)
        if columns is None:
            return inputs
        maker = self._coarse_makers[whole_name(conv)]
        coarse = widths[maker][1] if maker in widths else len(self._weights[self._convs[maker][0]])
        return coarse if columns == COARSE_COLUMNS else inputs - coarse

    def _split_sizes(self) -> dict[int, tuple[str, int]]:
        """Position of each Split of a convolution's output -> that convolution, and its parts."""
        return {
            position: (conv, len(self._model.graph.node[position].output))
            for position, conv in self._reading_convs("Split")
            if len(self._model.graph.node[position].input)
            > 1  # else equal parts, whatever the width
        }

    def _slice_places(self) -> dict[int, tuple[str, int, int]]:
        """Position of each Slice of a convolution's output -> that, parts in all, which part.

        Some versions of the exporter write a split of channels into equal parts so.
        """
        found: dict[int, tuple[str, int, int]] = {}
        for position, conv in self._reading_convs("Slice"):
            node = self._model.graph.node[position]
            start, end = (self._constants.get(name) for name in node.input[1:3])
            if start is None or end is None:
                continue
            width = len(self._weights[self._convs[conv][0]])
            part = min(int(end.item()), width) - int(start.item())
            found[position] = (conv, width // part, int(start.item()) // part)
        return found

    def _reading_convs(self, kind: str) -> Iterator[tuple[int, str]]:
        """(position, name of the convolution it reads) of the nodes of a kind."""
        behind = self._conv_behind()
        for position, node in enumerate(self._model.graph.node):
            name = behind(node) if node.op_type == kind else None
            if name is not None:
                yield position, name

    def _conv_behind(self) -> Callable[[Any], str | None]:
        """A node -> the convolution whose channels it reads as they are."""
        maker = {output: node for node in self._model.graph.node for output in node.output}

        def behind(node: Any) -> str | None:
            source = maker.get(node.input[0])
            while source is not None and source.op_type in _PASS_CHANNELS_ON:
                source = maker.get(source.input[0])
            return None if source is None or source.op_type != "Conv" else _conv_name(source)

        return behind


def _groups(node: Any) -> int:
    return next((int(each.i) for each in node.attribute if each.name == "group"), 1)


def _conv_name(node: Any) -> str:
    """Dotted name of the torch module that a Conv node was."""
    name: str = node.input[1]
    return name.removesuffix(_DEQUANTIZED).removesuffix(".weight")
