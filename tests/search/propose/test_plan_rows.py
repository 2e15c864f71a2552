"""Plans of trials, looked at once each."""

from __future__ import annotations

from dataclasses import replace

import optuna

from autoprune.search.propose.plan_rows import PlanRows
from tests.search.profiles import random_profile


def test_a_plan_that_came_later_is_taken_note_of() -> None:
    profile = random_profile(3)
    rows, kept = PlanRows(profile), profile.kept([0, 1, 0, 1, 0])
    running = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING, params={})
    assert rows.of(running) == tuple(profile.dense), "what is left out keeps everything"
    running.params = dict(kept)
    assert rows.of(running) == (0, 1, 0, 1, 0)


def test_a_plan_is_worked_out_once() -> None:
    profile = random_profile(3)
    rows, kept = PlanRows(profile), profile.kept([0, 1, 0, 1, 0])
    trial = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING, params={})
    trial.params = dict(kept)
    first = rows.of(trial)
    assert first == (0, 1, 0, 1, 0)
    assert rows.of(trial) is first


def test_a_plan_of_another_space_is_none() -> None:
    profile = random_profile(3)
    other = replace(profile, names=tuple(f"other {name}" for name in profile.names))
    trial = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING, params={})
    for params in (other.kept(profile.dense), {profile.names[0]: 5}):
        trial.params = params
        assert PlanRows(profile).of(trial) is None
