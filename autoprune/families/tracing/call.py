"""Call: one operation of the forward pass that is followed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Call:
    """One operation of the forward pass.

    Attributes:
        name: Of the function.
        func: The function.
        args, kwargs: What it was given.
        out: What it answered.
    """

    name: str
    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    out: Any

    def argument(self, position: int, key: str, default: Any = None) -> Any:
        """An argument by its place or its name; torch calls `dim` `axis` too."""
        if len(self.args) > position:
            return self.args[position]
        if key == "dim" and "axis" in self.kwargs:
            return self.kwargs["axis"]
        return self.kwargs.get(key, default)

    @cached_property
    def outs(self) -> list[Tensor]:
        """The tensors among its answers."""
        answers = self.out if isinstance(self.out, (list, tuple)) else [self.out]
        return [answer for answer in answers if isinstance(answer, Tensor)]

    @cached_property
    def given(self) -> list[Tensor]:
        """The tensors among its arguments, those in lists too."""
        found = []
        for one in (*self.args, *self.kwargs.values()):
            parts = one if isinstance(one, (list, tuple)) else [one]
            found += [part for part in parts if isinstance(part, Tensor)]
        return found
