"""Conditions between channels: which hold, which freeze, and which say nothing."""

from __future__ import annotations

from collections import Counter

from autoprune.families.tracing.balance import TIED, FrozenSets, conditions
from autoprune.families.tracing.found import Found, UsedSize
from autoprune.families.tracing.sizes import Formula


def _found(*balances: tuple[tuple[int, ...], ...]) -> Found:
    found = Found()
    found.ids.new(12)  # 1 to 12
    found.balances.extend(balances)
    return found


def test_what_says_the_same_twice_or_nothing_is_left_out() -> None:
    found = _found(((1, 2), (3, 4)), ((1, 2), (3, 4)), ((5, 6), (5, 6)), ((2, 1), (1, 2)))
    assert conditions(found, {}) == [(Counter({1: 1, 2: 1}), Counter({3: 1, 4: 1}))]


def test_channels_that_stay_on_all_sides_alike_leave_the_others_free() -> None:
    """Heads of queries, which stay, and values."""
    frozen: FrozenSets = {1: ("",), 2: ("",)}
    assert conditions(_found(((1, 3, 4), (2, 5, 6))), frozen) == [
        (Counter({3: 1, 4: 1}), Counter({5: 1, 6: 1}))
    ]
    assert set(frozen) == {1, 2}


def test_more_that_stay_on_one_side_freeze_all_and_what_is_tied_to_them() -> None:
    frozen: FrozenSets = {1: ("",)}
    assert conditions(_found(((1, 2), (3, 4)), ((3,), (5,)), ((7,), (8,))), frozen) == [
        (Counter({7: 1}), Counter({8: 1}))
    ]
    assert frozen == {1: ("",), 2: (TIED,), 3: (TIED,), 4: (TIED,), 5: (TIED,)}


def test_a_fixed_place_counts_as_one_that_stays() -> None:
    frozen: FrozenSets = {}
    assert conditions(_found(((0, 2), (3, 4))), frozen) == []
    assert set(frozen) == {2, 3, 4}


def test_an_attribute_counts_as_much_wherever_it_is_used() -> None:
    found = _found()
    formula = Formula(2, ("block", "c", None))
    for rows in (((1,), (2,)), ((3,), (4,))):
        found.sizes.append(UsedSize(formula, rows, "split @ block"))
    assert conditions(found, {}) == [(Counter({1: 1, 2: 1}), Counter({3: 1, 4: 1}))]


def test_a_channel_that_stands_there_twice_counts_twice() -> None:
    ((left, right),) = conditions(_found(((1, 1, 2, 2), (3, 4, 5, 6))), {})
    assert left == {1: 2, 2: 2}
    assert right == {3: 1, 4: 1, 5: 1, 6: 1}
