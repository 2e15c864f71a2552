"""A traced size stays a size through arithmetic of sizes, and tells of any other use."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from autoprune.families.tracing.sizes import Formula, TracedSize, plain

HEADS, WIDTH = ("attn", "num_heads", None), ("attn", "head_dim", None)
USED: list[TracedSize] = []


def _attribute(name: tuple[str, str, None], value: int) -> TracedSize:
    return TracedSize.make(value, USED.append, formula=Formula(value, name))


def _axis(count: int) -> TracedSize:
    rows = tuple((number,) for number in range(1, count + 1))
    return TracedSize.make(count, USED.append, rows=rows)


@pytest.fixture(autouse=True)
def _unused() -> None:
    USED.clear()


def test_arithmetic_on_attributes_is_a_formula_of_them() -> None:
    heads, width = _attribute(HEADS, 4), _attribute(WIDTH, 16)
    size = 2 * width + heads * width - width // 2
    assert (plain(size), USED) == (32 + 64 - 8, [])
    assert size.formula is not None
    assert size.formula.attributes() == {HEADS, WIDTH}
    assert size.formula.of({WIDTH: 8}) == 16 + 32 - 4
    assert size.formula.of({}) == plain(size)
    turned = 100 - width
    assert (plain(turned), turned.formula.of({WIDTH: 8})) == (84, 92)
    assert USED == []


def test_what_is_computed_of_a_tensors_size_is_no_size_of_it() -> None:
    half = _axis(8) // 2
    assert (plain(half), half.exact, half.formula) == (4, False, None)
    mixed = _attribute(WIDTH, 16) * _axis(8)
    assert (plain(mixed), mixed.exact, len(mixed.rows or ())) == (128, False, 8)
    assert _axis(8).exact
    assert USED == []


@pytest.mark.parametrize(
    "use",
    [
        lambda n: n > 20, lambda n: n >= 20, lambda n: n == 8, lambda n: n != 8, lambda n: n % 2,
        lambda n: n**-0.5, lambda n: 2**n, lambda n: n / 2, lambda n: 1 / n, lambda n: n * 0.5,
        lambda n: float(n), lambda n: int(n), lambda n: bool(n), lambda n: -n,
        lambda n: math.sqrt(n),
        lambda n: divmod(n, 3), lambda n: n & 1, lambda n: [0] if n else [], lambda n: abs(n),
    ],
)  # fmt: skip
def test_any_other_use_is_told(use: Callable[[Any], Any]) -> None:
    size = _axis(8)
    assert use(size) == use(8)
    assert [used is size for used in USED] == [True] * len(USED)
    assert USED


def test_copies_are_mere_numbers() -> None:
    size = _attribute(WIDTH, 16)
    assert type(pickle.loads(pickle.dumps(size))) is int
    assert type(copy.deepcopy(size)) is int
    assert type(plain(size)) is int
    assert plain("x") == "x"
    assert USED == []
