"""Which widths are on a staircase's steps, and the search space made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoprune.domain.space import SearchSpace
from autoprune.search.learn.stairs import space_text, wasted_channels

FOURS = np.arange(4, 65, 4.0)


def test_between_the_corners_of_a_staircase_channels_are_wasted() -> None:
    ratios = np.ceil(FOURS / 16) * 0.1
    assert wasted_channels(FOURS, ratios).tolist() == pytest.approx([12, 8, 4, 0] * 4)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_a_straight_or_convex_curve_wastes_nothing(power: float) -> None:
    assert wasted_channels(FOURS, (FOURS / 64) ** power) == pytest.approx(0.0, abs=1e-9)


def test_a_width_that_costs_more_than_all_channels_wastes_all_it_removes() -> None:
    wasted = wasted_channels(np.array([32.0, 63.0, 64.0]), np.array([0.5, 1.2, 1.0]))
    assert wasted.tolist() == [0.0, 1.0, 0.0]


def test_a_step_that_saves_half_of_what_it_should_is_told_from_a_whole_one() -> None:
    # inputs count one by one, outputs in blocks: 56 of 64 saves half of its share
    ratios = 0.5 * FOURS / 64 + 0.5 * np.ceil(FOURS / 16) / 4
    wasted = dict(zip(FOURS.tolist(), wasted_channels(FOURS, ratios).tolist(), strict=True))
    assert wasted[48] == pytest.approx(0)
    assert wasted[56] == pytest.approx(4)


def test_where_nothing_gets_faster_only_the_widest_is_free_of_waste() -> None:
    assert wasted_channels(np.array([8.0, 16.0]), np.array([1.0, 1.0])).tolist() == [8.0, 0.0]


def test_a_written_space_is_read_back_unchanged(tmp_path: Path) -> None:
    widths = {0: (32,), 1: (64,), 2: (), 3: (64, 80)}
    choices = {"keep_0": (32,), "keep_1": (16, 48), "keep_3_box": (64,), "keep_3_cls": (32, 80)}
    space = SearchSpace(widths, choices, round_to=16)
    path = tmp_path / "space.yaml"
    path.write_text(space_text(space, "one\ntwo"))
    assert SearchSpace.load(path, widths) == space
