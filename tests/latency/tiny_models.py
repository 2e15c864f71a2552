"""Models of a few convolutions, written in milliseconds, for tests of timing."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CHANNELS = 16


def write_onnx(
    path: Path, convs: int, size: int = 32, batch: object = 1, bias: float = 0.0
) -> Path:
    """A stem of 3 -> 16 channels followed by `convs` convolutions of 16 -> 16."""
    rng = np.random.default_rng(0)
    nodes, weights, last, width = [], [], "images", 3
    for index in range(convs + 1):
        kernel = rng.normal(0, 0.1, (CHANNELS, width, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"w{index}"))
        shift = np.full(CHANNELS, bias, dtype=np.float32)
        weights.append(numpy_helper.from_array(shift, f"b{index}"))
        names = [last, f"w{index}", f"b{index}"]
        last, width = f"y{index}", CHANNELS
        nodes.append(helper.make_node("Conv", names, [last], kernel_shape=[3, 3], pads=[1] * 4))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, size, size])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, [batch, CHANNELS, size, size])],
        weights,
    )
    opset = helper.make_opsetid("", 18)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=9)
    onnx.save(model, str(path))
    return path
