"""TracedSize: an int that remembers which channels, or which attributes, it counts."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Attribute = tuple[str, str, int | None]
"""Module, name of its attribute, position in it where that is a list."""

Rows = tuple[tuple[int, ...], ...]
"""For every position along an axis, the channels that stand there."""


@dataclass(frozen=True)
class Formula:
    """A size as arithmetic on attributes of modules.

    Attributes:
        apply: Of an operation's two sides; None for a number or an attribute.
        sides: Both formulas.
        attribute: The attribute; None for a number.
        value: The number, or what the attribute was.
    """

    value: int
    attribute: Attribute | None = None
    apply: Callable[[int, int], int] | None = None
    sides: tuple[Formula, ...] = ()

    def of(self, values: Mapping[Attribute, int]) -> int:
        """The size where some attributes have other values."""
        if self.apply is not None:
            return self.apply(*(side.of(values) for side in self.sides))
        return self.value if self.attribute is None else values.get(self.attribute, self.value)

    def attributes(self) -> frozenset[Attribute]:
        """All that it reads."""
        own = frozenset[Attribute]() if self.attribute is None else frozenset({self.attribute})
        return own.union(*(side.attributes() for side in self.sides))


class TracedSize(int):
    """A size in the traced forward pass.

    Sums, differences, products and whole quotients of attributes stay sizes. Anything else that is
    done with it (a comparison, a power, a float) uses it as a number, which a cut would change:
    `use` hears of that.

    Attributes:
        rows: What a tensor's axis holds; None if it is not made from an axis's length.
        exact: Whether it is that length itself, not computed from it.
        formula: How it follows from attributes; None if it does not.
        use: Called when it is used as a number.
    """

    rows: Rows | None
    exact: bool
    formula: Formula | None
    use: Callable[[TracedSize], None]

    @classmethod
    def make(
        cls,
        value: int,
        use: Callable[[TracedSize], None],
        rows: Rows | None = None,
        formula: Formula | None = None,
        *,
        exact: bool = True,
    ) -> TracedSize:
        """A size with what it counts."""
        made = cls(value)
        made.rows, made.formula, made.use, made.exact = rows, formula, use, exact
        return made

    def _computed(self, other: Any, apply: Callable[[int, int], int], *, turned: bool) -> Any:
        if not isinstance(other, int):
            return self._number(apply, other, turned=turned)
        sides = (plain(other), plain(self)) if turned else (plain(self), plain(other))
        value = apply(*sides)
        if self.formula is None or getattr(other, "rows", None) is not None:
            rows = (self.rows or ()) + (getattr(other, "rows", None) or ())
            return TracedSize.make(value, self.use, rows=rows, exact=False)
        theirs = getattr(other, "formula", None) or Formula(plain(other))
        both = (theirs, self.formula) if turned else (self.formula, theirs)
        return TracedSize.make(value, self.use, formula=Formula(value, None, apply, both))

    def _number(self, apply: Callable[..., Any], *others: Any, turned: bool = False) -> Any:
        self.use(self)
        for other in others:
            if isinstance(other, TracedSize):
                other.use(other)
        sides = [plain(self), *map(plain, others)]
        return apply(*(reversed(sides) if turned else sides))

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        return int, (plain(self),)


def plain(value: Any) -> Any:
    """A size as a mere int, unseen; anything else as it is."""
    return int.__index__(value) if isinstance(value, TracedSize) else value


def _size(apply: Callable[[int, int], int], *, turned: bool) -> Callable[[Any, Any], Any]:
    return lambda self, other: self._computed(other, apply, turned=turned)


def _number(apply: Callable[..., Any], *, turned: bool) -> Callable[..., Any]:
    return lambda self, *others: self._number(apply, *others, turned=turned)


_SIZES = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "floordiv": operator.floordiv,
}
_TWO_SIDED = {
    "truediv": operator.truediv,
    "mod": operator.mod,
    "pow": operator.pow,
    "divmod": divmod,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
    "lshift": operator.lshift,
    "rshift": operator.rshift,
}
_ONE_SIDED: dict[str, Callable[..., Any]] = {
    "neg": operator.neg,
    "abs": abs,
    "bool": bool,
    "int": int,
    "float": float,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
}
for _name, _apply in _SIZES.items():
    setattr(TracedSize, f"__{_name}__", _size(_apply, turned=False))
    setattr(TracedSize, f"__r{_name}__", _size(_apply, turned=True))
for _name, _apply in _TWO_SIDED.items():
    setattr(TracedSize, f"__{_name}__", _number(_apply, turned=False))
    setattr(TracedSize, f"__r{_name}__", _number(_apply, turned=True))
for _name, _apply in _ONE_SIDED.items():
    setattr(TracedSize, f"__{_name}__", _number(_apply, turned=False))
TracedSize.__hash__ = int.__hash__  # type: ignore[method-assign]
