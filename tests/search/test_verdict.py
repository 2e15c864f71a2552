"""The verdict from hand-made numbers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from autoprune.search.run import _early_verdict
from autoprune.search.verdict import Option, early_verdict, verdict_of
from tests.search.fakes import fake_bench, kept_share, latency

DENSE = latency(10.0)
FLOOR = Option("floor", "the floor", latency(4.0), 1, removed=0.7)
PLAN = Option("plan", "the plan", latency(5.9), 1, removed=0.25)
SIBLING = Option("sibling", "yolov8n", latency(3.0), 1)
SIZE = Option("image size", "128x128 px", latency(3.5), 1)


def test_a_dense_model_whose_whole_interval_is_within_the_limit_meets_it_already() -> None:
    assert verdict_of(10.2, DENSE, FLOOR, None, []).kind == "already met"
    assert verdict_of(10.05, DENSE, FLOOR, None, []).kind == "reachable"  # up to 10.1 measured


def test_a_limit_above_the_floor_is_reachable_and_the_plan_says_by_how_much() -> None:
    verdict = verdict_of(6.0, DENSE, FLOOR, PLAN, [SIBLING])
    assert verdict.kind == "reachable"
    assert verdict.good
    assert "about 25% of channels" in verdict.text
    assert "the plan: 5.90 ms" in verdict.text


def test_a_plan_that_missed_the_limit_leaves_the_floor_as_proof() -> None:
    verdict = verdict_of(4.95, DENSE, FLOOR, PLAN, [])  # halfway between the two
    assert verdict.kind == "reachable"
    assert "about 48% of channels (the floor: 4.00 ms)" in verdict.text
    assert "about 70% of channels" in verdict_of(4.95, DENSE, FLOOR, None, []).text


def test_below_the_floor_the_options_within_the_limit_are_named_and_no_others() -> None:
    verdict = verdict_of(3.2, DENSE, FLOOR, None, [SIBLING, SIZE])
    assert verdict.kind == "not reachable"
    assert not verdict.good
    assert "yolov8n (3.00 ms)" in verdict.text
    assert "128x128" not in verdict.text


def test_below_everything_tried_it_says_so() -> None:
    verdict = verdict_of(2.0, DENSE, FLOOR, None, [SIBLING, SIZE])
    assert verdict.kind == "out of reach"
    assert not verdict.good
    assert "none of the smaller models and image sizes" in verdict.text


def test_a_floor_that_touches_the_limit_is_not_promised() -> None:
    verdict = verdict_of(4.0, DENSE, FLOOR, None, [SIZE])  # the floor's interval: 3.96 - 4.04
    assert verdict.kind == "not reachable"
    assert "too near the limit to be sure" in verdict.text


def test_without_a_limit_the_floor_is_the_answer() -> None:
    verdict = verdict_of(None, DENSE, FLOOR, None, [])
    assert verdict.kind == "no goal"
    assert verdict.good
    assert "4.00 ms (40% of dense)" in verdict.text


@pytest.mark.parametrize(
    ("limit_ms", "error", "needle"),
    [
        (5.0, 0.02, "5 ms is within reach"),
        (4.05, 0.02, "at the edge"),
        (3.9, 0.02, "at the edge"),
        (3.9, 0.2, "at the edge"),
        (3.0, 0.02, "NOT reachable by pruning within this space; a smaller image"),
        (3.0, 0.2, "at the edge"),
        (None, 0.02, "4.00 ms are predicted (40% of dense)."),
    ],
)
def test_a_search_is_told_as_much_as_the_prediction_allows(
    limit_ms: float | None, error: float, needle: str
) -> None:
    said = early_verdict(limit_ms, 10.0, 4.0, error)
    assert needle in said
    assert "\n" not in said


def test_a_search_judges_by_the_strongest_plan_of_its_own_space(tmp_path: Path) -> None:
    bench = fake_bench(tmp_path)
    asked: list[float] = []

    def predicted_ms(plan: Any) -> float:
        asked.append(kept_share(plan))
        return 10 * asked[-1]

    bench.dense_latency, bench.predicted_ms = DENSE, predicted_ms
    bench.predictor = SimpleNamespace(error=SimpleNamespace(mape=0.02))
    said = _early_verdict(cast(Any, bench), 1.0)
    strongest = {name: offered[0] for name, offered in bench.space.choices.items()}
    assert asked == [kept_share(bench.space.plan(strongest))]
    assert "1 ms is NOT reachable" in said
