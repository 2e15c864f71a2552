"""The plans a study starts from."""

from __future__ import annotations

import pytest

from autoprune.search.baselines import blocks_of
from autoprune.search.first_plans import macs_within, parts_of


def test_macs_within_follows_the_line_through_the_timed_plans() -> None:
    timed = [(100.0, 2.0), (200.0, 3.0), (400.0, 5.0)]
    assert macs_within(4.0, timed) == pytest.approx(300.0)
    assert macs_within(4.0, timed[:1]) is None
    assert macs_within(4.0, [(100.0, 3.0), (200.0, 2.0)]) is None


def test_parts_of_a_network_are_found_by_position() -> None:
    widths: dict[int, tuple[int, ...]] = dict.fromkeys(range(22), (16,))
    widths |= {10: (), 11: (), 13: (), 14: (), 17: (), 20: (), 22: (64, 80)}
    parts = parts_of(widths)
    assert [parts[index] for index in (0, 4, 5, 9, 10, 15, 21, 22)] == [
        "early", "early", "late", "late", "neck", "neck", "neck", "detect",
    ]  # fmt: skip


def test_blocks_follow_the_vector_width() -> None:
    assert blocks_of("avx512") == (8, 16)
    assert blocks_of("avx2") == (8,)
    assert blocks_of("neon") == (8,)
