"""A goal in numbers, and what shows that a record meets it."""

from __future__ import annotations

from typing import Any

import pytest

from autoprune.domain.goal import Evidence, Goal, Limit
from tests.search.fakes import DENSE, latency, record, scored

BUDGET = Goal(kind="budget_ms", value=5).against(DENSE)  # of 10 ms, mAP 0.8; intervals are +-1 %
DROP = Goal(kind="max_drop", value=2).against(DENSE)


def test_a_limit_knows_milliseconds_share_and_accuracy() -> None:
    assert (BUDGET.latency_ms, BUDGET.latency_share, BUDGET.least_map) == (5.0, 0.5, 0.0)
    assert Goal(kind="speedup", value=2.5).against(DENSE).latency_ms == 4.0
    assert (DROP.latency_ms, DROP.latency_share) == (None, None)
    assert DROP.least_map == pytest.approx(0.78)


def test_without_a_measured_dense_model_there_is_no_limit() -> None:
    with pytest.raises(ValueError, match="not measured"):
        Goal(kind="speedup", value=2).against(record("dense", None, 0.8, kind="dense"))


def _shaky(ms: float) -> Any:
    return latency(ms).model_copy(update={"steady": False})


@pytest.mark.parametrize(
    ("known", "evidence"),
    [
        ({"predicted": None}, Evidence.NONE),
        ({"predicted": 5.0}, Evidence.PREDICTED),
        ({"predicted": 5.01}, Evidence.NONE),
        ({"predicted": 4.0, "ms": 5.01}, Evidence.NONE),  # a measurement counts more
        ({"predicted": 6.0, "ms": 5.0}, Evidence.MEASURED),  # up to 5.05
        ({"ms": 4.95}, Evidence.INTERVAL),  # up to 4.9995
        ({"ms": 4.0, "confirmed": latency(4.9)}, Evidence.CONFIRMED),
        ({"ms": 5.5, "confirmed": latency(4.9)}, Evidence.CONFIRMED),
        ({"ms": 4.0, "confirmed": latency(4.97)}, Evidence.NONE),  # a steady miss stays one
        ({"ms": 4.0, "confirmed": _shaky(4.97)}, Evidence.INTERVAL),  # this one may be tried again
        ({"ms": 4.98, "confirmed": _shaky(5.2)}, Evidence.MEASURED),
    ],
)
def test_a_latency_goal_is_judged_by_the_strongest_that_is_known(
    known: dict[str, Any], evidence: Evidence
) -> None:
    asked = {"ms": None, "predicted": None, "confirmed": None, **known}
    made = record("trial 1", asked.pop("ms"), 0.7, number=1, **asked)
    assert BUDGET.judge(made) == evidence


@pytest.mark.parametrize(
    ("made", "evidence"),
    [
        (scored(0, 9.0, 0.781), Evidence.PREDICTED),
        (scored(0, 9.0, 0.779), Evidence.NONE),
        (record("trial 1", None, None, predicted=1.0), Evidence.NONE),
        (record("trial 1", 99.0, 0.781, untrained=0.1), Evidence.MEASURED),
        (record("trial 1", 1.0, 0.779, untrained=0.9), Evidence.NONE),  # training counts more
        (record("trial 1", 9.0, 0.79, confirmed=latency(9.0)), Evidence.CONFIRMED),
        (record("trial 1", 9.0, 0.7, confirmed=latency(9.0)), Evidence.NONE),
    ],
)
def test_an_accuracy_goal_is_judged_by_map_alone(made: Any, evidence: Evidence) -> None:
    assert DROP.judge(made) == evidence


def test_an_accuracy_goal_finds_every_latency_within() -> None:
    assert DROP.judge_latency(latency(99.0)) == Evidence.INTERVAL
    assert DROP.judge_predicted(99.0) == Evidence.PREDICTED
    assert (DROP.sure, BUDGET.sure) == (Evidence.MEASURED, Evidence.INTERVAL)


def test_room_moves_the_limit_of_a_prediction() -> None:
    assert BUDGET.judge_predicted(5.1, 1.02) == Evidence.PREDICTED
    assert BUDGET.judge_predicted(4.9, 0.975) == Evidence.NONE


def test_every_kind_of_evidence_has_words_of_its_own() -> None:
    assert len({evidence.words() for evidence in Evidence}) == len(Evidence)


def test_a_limit_is_a_value() -> None:
    assert Limit(Goal(kind="budget_ms", value=5), 10.0, 0.8) == BUDGET
