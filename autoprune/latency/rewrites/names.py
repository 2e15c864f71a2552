"""Names of the convolutions that the rewrites make, and the stock convolution each is a part of."""

from __future__ import annotations

import re

HALVES = ("half0", "half1")  # of the output channels
COARSE_COLUMNS, FINE_COLUMNS = "coarse_columns", "fine_columns"  # of the input channels
_IN_A_NAME = re.compile(
    rf"(?:\.(?P<half>{'|'.join(HALVES)}))?\.(?P<columns>conv|{COARSE_COLUMNS}|{FINE_COLUMNS})$"
)


def whole_name(name: str) -> str:
    """Dotted name of a convolution in an exported model -> its name in the stock model.

    All parts of one convolution have the same.
    """
    return _IN_A_NAME.sub(".conv", name)


def half_of(name: str) -> str | None:
    """Which half of the stock convolution's output a part computes; None for all of it."""
    found = _IN_A_NAME.search(name)
    return found["half"] if found else None


def columns_of(name: str) -> str | None:
    """Which columns of the stock convolution a part reads: one of the two; None for all."""
    found = _IN_A_NAME.search(name)
    return found["columns"] if found and found["columns"] != "conv" else None
