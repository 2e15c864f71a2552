"""Whether a goal makes sense here, and whether the time for it is enough."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from autoprune.domain.goal import Goal
from autoprune.search.context.budget import Budget
from autoprune.search.feasibility.reasonable import easy_goal, sensible_speedup, short_of_time
from tests.search.fakes import DENSE, fake_bench, option, scored


def _limit(kind: Any, value: float) -> Any:
    return Goal(kind=kind, value=value).against(DENSE)  # 10 ms


@pytest.mark.parametrize(
    ("kind", "value", "easy"),
    [
        ("budget_ms", 8.0, True),
        ("budget_ms", 7.9, False),
        ("budget_ms", 10.5, False),  # met by the dense model: another sentence says so
        ("speedup", 1.2, True),
        ("max_drop", 1.0, False),
    ],
)
def test_a_limit_near_the_dense_latency_is_called_easy(kind: Any, value: float, easy: bool) -> None:
    said = easy_goal(_limit(kind, value))
    assert (said is not None) == easy
    if said is not None:
        assert said.endswith("an easy goal. --speedup 2 asks for more (5 ms).")


def test_out_of_reach_a_goal_between_the_floor_and_dense_is_named() -> None:
    floor = [option("floor", "the floor", 4.0, removed=0.7)]
    said = sensible_speedup(_limit("budget_ms", 3.0), floor)
    assert said == "--speedup 1.5 asks for 6.67 ms, which pruning can reach here."
    assert sensible_speedup(_limit("max_drop", 3.0), floor) is None
    assert sensible_speedup(_limit("budget_ms", 3.0), []) is None
    useless = [option("floor", "the floor", 9.9, removed=0.7)]  # pruning saves nothing
    assert sensible_speedup(_limit("budget_ms", 3.0), useless) is None


def _bench(root: Path) -> Any:
    """The dense model was validated in a second, and all of it took ten."""
    bench = fake_bench(root)
    (score,) = DENSE.rungs
    rungs = (score.model_copy(update={"seconds": 1.0}),)
    bench.dense = DENSE.model_copy(update={"seconds": 10.0, "rungs": rungs})
    bench.data.train = bench.data.selection_images * 2
    return bench


def test_a_limit_too_short_to_search_is_said_with_one_that_would_do(tmp_path: Path) -> None:
    """20 s are spent; 1.5, 25, 3 x 3 x 2, 20 and 8 s are needed; a plan takes 1.3 s."""
    bench, began = _bench(tmp_path), time.monotonic() - 20
    said = short_of_time(bench, Budget(99.0, began=began))
    assert said is not None
    assert said.startswith("--timeout 99 leaves time for about 4 plans; --timeout 110 would do")
    assert short_of_time(bench, Budget(110.0, began=began)) is None
    assert short_of_time(bench, Budget(None)) is None
    none_at_all = short_of_time(bench, Budget(30.0, began=began))
    assert none_at_all is not None
    assert "about 0 plans" in none_at_all


def test_a_continued_search_is_not_lectured(tmp_path: Path) -> None:
    bench = _bench(tmp_path)
    bench.folder.save_record(scored(0, 4.0, 0.5))
    assert short_of_time(bench, Budget(1.0)) is None
