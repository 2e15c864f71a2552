"""The shapes of the convolutions' weights in an exported file, where they can be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def weight_shapes(path: Path) -> dict[str, tuple[int, ...]] | None:
    """Name of each weight -> its shape, in a .onnx file or a `torch.export` program.

    The names are those of the torch modules, but where the graph was rewritten.

    Returns:
        None for files of another kind.
    """
    if path.suffix == ".onnx":
        import onnx

        graph = onnx.load(path).graph
        return {each.name: tuple(each.dims) for each in graph.initializer}
    if path.suffix == ".pt2":
        import torch

        program: Any = torch.export.load(path)
        return {name: tuple(each.shape) for name, each in program.state_dict.items()}
    return None
