"""The verdict from hand-made numbers."""

from __future__ import annotations

from autoprune.search.feasibility.decide import verdict_of
from tests.search.fakes import latency, limit, option

DENSE = latency(10.0)


FLOOR = option("floor", "the floor", 4.0, removed=0.7)
PLAN = option("plan", "the plan", 5.9, removed=0.25)
SIBLING = option("sibling", "yolov8n", 3.0)
SIZE = option("image size", "128x128 px", 3.5)
STOCK = option("stock export", "stock export", 3.0)


def test_a_dense_model_whose_whole_interval_is_within_the_limit_meets_it_already() -> None:
    assert verdict_of(limit(10.2), DENSE, [FLOOR]).kind == "already met"
    assert verdict_of(limit(10.05), DENSE, [FLOOR]).kind == "reachable"  # up to 10.1 measured


def test_a_limit_above_the_floor_is_reachable_and_the_plan_says_by_how_much() -> None:
    verdict = verdict_of(limit(6.0), DENSE, [FLOOR, PLAN, SIBLING])
    assert verdict.kind == "reachable"
    assert verdict.good
    assert "about 25% of channels" in verdict.text
    assert "the plan: 5.90 ms" in verdict.text


def test_a_plan_that_missed_the_limit_leaves_the_floor_as_proof() -> None:
    verdict = verdict_of(limit(4.95), DENSE, [FLOOR, PLAN])  # halfway between the two
    assert verdict.kind == "reachable"
    assert "about 48% of channels (the floor: 4.00 ms)" in verdict.text
    assert "about 70% of channels" in verdict_of(limit(4.95), DENSE, [FLOOR]).text


def test_below_the_floor_the_options_within_the_limit_are_named_and_no_others() -> None:
    verdict = verdict_of(limit(3.2), DENSE, [FLOOR, SIBLING, SIZE])
    assert verdict.kind == "not reachable"
    assert not verdict.good
    assert "yolov8n (3.00 ms)" in verdict.text
    assert "128x128" not in verdict.text


def test_below_everything_tried_it_says_so() -> None:
    verdict = verdict_of(limit(2.0), DENSE, [FLOOR, SIBLING, SIZE])
    assert verdict.kind == "out of reach"
    assert not verdict.good
    assert "none of the smaller models and image sizes" in verdict.text


def test_a_stock_export_is_no_other_way_to_meet_the_limit() -> None:
    """It is the dense model: where it is within the limit, the timed file is too, or one erred."""
    verdict = verdict_of(limit(3.2), DENSE, [FLOOR, STOCK])
    assert verdict.kind == "out of reach"
    assert "stock" not in verdict.text
    assert verdict.others == ()
    assert verdict.stock_export == STOCK
    assert verdict_of(limit(3.2), DENSE, [FLOOR, SIBLING]).stock_export is None


def test_a_floor_that_touches_the_limit_is_not_promised() -> None:
    verdict = verdict_of(limit(4.0), DENSE, [FLOOR, SIZE])  # the floor's interval: 3.96 - 4.04
    assert verdict.kind == "not reachable"
    assert "too near the limit to be sure" in verdict.text


def test_without_a_limit_the_floor_is_the_answer() -> None:
    verdict = verdict_of(None, DENSE, [FLOOR])
    assert verdict.kind == "no goal"
    assert verdict.good
    assert "4.00 ms (40% of dense)" in verdict.text
