"""torch's exporter makes its table of ONNX operators anew for every file: here, once a process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

_MADE: dict[Any, Any] = {}


@contextlib.contextmanager
def operator_table_made_once() -> Iterator[None]:
    """While this is active, `torch.onnx.export(dynamo=True)` uses the first file's table again.

    Making it parses the source of 500 operators: half a second of the three of a detector. An
    export without translations of its own, as ours, only reads it. A torch that keeps its table
    elsewhere than 2.14 does makes it every time.
    """
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry
    except ImportError:
        yield
        return
    registry: Any = ONNXRegistry
    stock = vars(registry).get("from_torchlib")
    if not isinstance(stock, classmethod):
        yield
        return
    make = registry.from_torchlib

    def made_once(*args: Any, **kwargs: Any) -> Any:
        asked = (args, tuple(sorted(kwargs.items())))  # an opset
        if asked not in _MADE:
            _MADE[asked] = make(*args, **kwargs)
        return _MADE[asked]

    registry.from_torchlib = staticmethod(made_once)
    try:
        yield
    finally:
        registry.from_torchlib = stock
