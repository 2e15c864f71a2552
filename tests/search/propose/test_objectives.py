"""What Optuna is told."""

from __future__ import annotations

from autoprune.domain.goal import Goal
from autoprune.search.propose.objectives import constraint_of, values_of
from tests.search.fakes import DENSE, record, scored

BUDGET = Goal(kind="budget_ms", value=5).against(DENSE)
DROP = Goal(kind="max_drop", value=2).against(DENSE)


def test_constraints_go_by_prediction_and_by_the_score_without_training() -> None:
    assert constraint_of(scored(0, 5.0, 0.5), BUDGET)[1] <= 0
    assert constraint_of(scored(0, 5.1, 0.5), BUDGET)[1] > 0
    assert constraint_of(scored(0, 9.0, 0.79), DROP)[1] <= 0
    assert constraint_of(scored(0, 9.0, 0.77), DROP)[1] > 0
    trained = record("t", 4.0, 0.79, predicted=9.0, untrained=0.5)
    assert constraint_of(trained, BUDGET)[1] > 0
    assert constraint_of(trained, DROP)[1] > 0


def test_objective_values_never_change_when_a_trial_is_measured_and_trained() -> None:
    before = scored(3, 4.5, 0.4)
    after = record("trial 3", 4.9, 0.7, number=3, predicted=4.5, untrained=0.4)
    assert values_of(before) == values_of(after) == [1000.0, 4.5, 0.4]
    over = record("trial 4", None, None, state="over_budget", predicted=7.0)
    assert values_of(over) == [1000.0, 7.0, 0.0]
