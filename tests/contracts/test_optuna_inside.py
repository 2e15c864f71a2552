"""What autoprune relies on of Optuna, one test each: run against the newest by tests/newest.sh."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import TrialState, create_trial

from autoprune.search.context.optuna_inside import (
    ASKED_OF_THE_DATABASE,
    ask,
    at_once,
    folder_storage,
    running_trial,
    set_trial_attribute,
    state_of,
)
from autoprune.search.context.trial_storage import TrialStorage

WIDTHS = CategoricalDistribution([8, 16])


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return _open(tmp_path)


def _open(folder: Path, storage: Any = None) -> optuna.Study:
    return optuna.create_study(
        study_name="s",
        storage=storage or f"sqlite:///{folder / 'study.db'}",
        directions=["minimize", "maximize"],
        sampler=RandomSampler(seed=0),
        load_if_exists=True,
    )


def test_a_trial_that_is_left_stays_running(study: optuna.Study, tmp_path: Path) -> None:
    """Nothing times out in ask and tell: a worker that died leaves its trial RUNNING for us."""
    study.ask().suggest_categorical("width", [8, 16])
    (left,) = _open(tmp_path).get_trials(states=[TrialState.RUNNING])
    assert left.number == 0
    assert list(left.params) == ["width"]


def test_a_running_trial_can_be_taken_over_by_its_private_id(
    study: optuna.Study, tmp_path: Path
) -> None:
    """`FrozenTrial._trial_id` is what `Trial(study, id)` takes; another process may tell it."""
    width = study.ask().suggest_categorical("width", [8, 16])
    study.ask()
    other = _open(tmp_path)
    adopted = running_trial(other, 0)
    assert adopted.number == 0
    assert adopted.suggest_categorical("width", [8, 16]) == width, "its own plan, not a new one"
    other.tell(adopted, [1.0, 0.5])
    assert [trial.state for trial in study.get_trials()] == [
        TrialState.COMPLETE,
        TrialState.RUNNING,
    ]


def test_an_attribute_is_set_by_number_until_the_trial_is_finished(study: optuna.Study) -> None:
    """`_storage`, `_study_id`: another worker's trial has no `Trial` object here."""
    trial = study.ask()
    assert state_of(study, trial) == TrialState.RUNNING
    assert set_trial_attribute(study, 0, "record", "first")
    study.tell(trial, [1.0, 0.5])
    assert state_of(study, trial) == TrialState.COMPLETE
    assert not set_trial_attribute(study, 0, "record", "late")
    assert not set_trial_attribute(study, 1, "record", "of none")
    assert study.trials[0].user_attrs == {"record": "first"}
    study.tell(trial, [2.0, 0.1], skip_if_finished=True)
    assert study.trials[0].values == [1.0, 0.5]


def test_all_that_optunas_cache_asks_of_a_database_waits_for_it() -> None:
    """It calls methods of RDBStorage, also private ones: each is repeated when it is lost."""
    import inspect

    from optuna.storages._cached_storage import _CachedStorage

    sources = inspect.getsource(_CachedStorage) + inspect.getsource(TrialStorage)
    asked = set(re.findall(r"self\._backend\.(\w+)\(", sources))
    never = {
        "delete_study",
        "get_study_name_from_id",
        "get_all_studies",
        "_get_best_trial_id",
        "set_trial_intermediate_value",
        "record_heartbeat",
        "_get_stale_trial_ids",
        "get_heartbeat_interval",
        "get_heartbeat_stale_trial_callback",
    }
    assert asked - never == set(ASKED_OF_THE_DATABASE)


def test_what_belongs_together_is_one_transaction(tmp_path: Path) -> None:
    """Optuna's models and `_set_trial_*_without_commit`: one commit in place of some thirty."""
    ours = _open(tmp_path, folder_storage(tmp_path / "study.db"))
    trial, commits = ours.ask(), _commits(ours)
    with at_once(ours, trial):
        width = trial.suggest_categorical("width", [8, 16])
        trial.suggest_int("depth", 1, 9, step=2)
        trial.set_user_attr("attempts", 1)
    with at_once(ours, trial):
        trial.set_constraint("latency", -1.0)
        ours.tell(trial, [1.0, 0.5])
    assert len(commits) == 2
    assert state_of(ours, trial) == TrialState.COMPLETE
    for study in (ours, _open(tmp_path)):  # Optuna's own storage reads the same
        (found,) = study.get_trials()
        assert found.params["width"] == width
        assert list(found.params) == ["width", "depth"]
        assert found.distributions["width"] == WIDTHS
        assert found.user_attrs == {"attempts": 1}
        assert found.values == [1.0, 0.5]
        assert found.datetime_complete is not None
        assert study.best_trials == [found]
    assert ours.get_trials() == _open(tmp_path).get_trials()


def test_what_was_written_here_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = _open(tmp_path, folder_storage(tmp_path / "study.db"))
    assert ours.get_trials() == []
    storage = ours._storage
    assert isinstance(storage, TrialStorage)
    for method in ("_get_trials", "get_trial"):
        monkeypatch.setattr(storage._backend, method, None)  # calling it fails
    trial = ask(ours)
    with at_once(ours, trial):
        trial.suggest_categorical("width", [8, 16])
        assert [each.number for each in ours.get_trials()] == [0]
    (before,) = ours.get_trials(deepcopy=False)
    with at_once(ours, trial):
        trial.set_constraint("latency", -1.0)
        ours.tell(trial, [1, 0.5], skip_if_finished=True)
    assert before.state == TrialState.RUNNING, "who holds it keeps it as it was"
    monkeypatch.undo()
    assert ours.get_trials() == _open(tmp_path).get_trials()
    assert ours.get_trials()[0].constraints == {"latency": -1.0}


def test_a_trial_that_another_worker_has_told_is_not_told_again(tmp_path: Path) -> None:
    ours = _open(tmp_path, folder_storage(tmp_path / "study.db"))
    trial = ours.ask()
    with at_once(ours, trial):
        trial.suggest_categorical("width", [8, 16])
    other = _open(tmp_path)
    other.tell(running_trial(other, 0), [1.0, 0.5])
    with pytest.raises(UpdateFinishedTrialError), at_once(ours, trial):
        ours.tell(trial, [2.0, 0.1], skip_if_finished=True)
    assert [each.values for each in ours.get_trials()] == [[1.0, 0.5]]


def test_a_plan_that_another_worker_drew_for_the_same_trial_stands(tmp_path: Path) -> None:
    ours = _open(tmp_path, folder_storage(tmp_path / "study.db"))
    trial = ours.ask()
    theirs = _open(tmp_path, folder_storage(tmp_path / "study.db"))
    for study, mine, width in ((theirs, running_trial(theirs, 0), 16), (ours, trial, 8)):
        with at_once(study, mine):
            mine.suggest_categorical("width", [8, 16])
            study._storage._kept[mine._trial_id].params["width"] = width // 16, WIDTHS  # type: ignore[attr-defined]
    for study in (ours, theirs, _open(tmp_path)):
        assert study.get_trials()[0].params == {"width": 16}


def test_what_waits_is_begun_as_of_the_last_look(tmp_path: Path) -> None:
    ours = _open(tmp_path, folder_storage(tmp_path / "study.db"))
    ours.get_trials()
    _open(tmp_path).enqueue_trial({"width": 16})
    assert ask(ours).number == 1
    ours.get_trials()
    assert ask(ours).number == 0


def test_of_a_body_that_fails_or_a_trial_that_is_finished_nothing_is_written(
    tmp_path: Path,
) -> None:
    ours = _open(tmp_path, folder_storage(tmp_path / "study.db"))
    trial = ours.ask()
    with suppress(ZeroDivisionError), at_once(ours, trial):
        trial.set_user_attr("half", True)
        raise ZeroDivisionError
    other = _open(tmp_path)
    other.tell(running_trial(other, 0), [1.0, 0.5])
    with pytest.raises(UpdateFinishedTrialError), at_once(ours, trial):
        trial.set_user_attr("late", True)
    assert ours.get_trials()[0].user_attrs == {}


def test_what_other_workers_do_is_seen_by_reading_little(tmp_path: Path) -> None:
    ours = _open(tmp_path, folder_storage(tmp_path / "study.db"))
    theirs = _open(tmp_path, folder_storage(tmp_path / "study.db"))
    mine, other = ours.ask(), theirs.ask()
    assert [trial.number for trial in ours.get_trials()] == [0, 1]
    other.suggest_categorical("width", [8, 16])
    theirs.ask()
    seen = ours.get_trials()
    assert [bool(trial.params) for trial in seen] == [False, True, False]
    other.set_user_attr("record", "of a running trial")
    storage = ours._storage
    assert isinstance(storage, TrialStorage)
    assert ours.get_trials()[1].user_attrs == {}, "its plan is there: no more is read of it"
    storage.reread_running()
    assert ours.get_trials()[1].user_attrs == {"record": "of a running trial"}
    other.set_user_attr("attempts", 1)
    taken_over = running_trial(ours, 1)
    with at_once(ours, taken_over):
        assert taken_over.user_attrs["attempts"] == 1
    theirs.tell(other, [1.0, 0.5])
    mine.suggest_categorical("width", [8, 16])
    ours.tell(mine, state=TrialState.FAIL)
    for study in (ours, theirs, _open(tmp_path)):
        states = [trial.state for trial in study.get_trials()]
        assert states == [TrialState.FAIL, TrialState.COMPLETE, TrialState.RUNNING]
    assert ours.get_trials() == _open(tmp_path).get_trials()


def _commits(study: optuna.Study) -> list[Any]:
    """Grows with every commit to the study's database that wrote something."""
    from sqlalchemy import event

    found: list[Any] = []
    engine: Any = study._storage._backend.engine  # type: ignore[attr-defined]
    wrote: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def _statement(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("SELECT"):
            wrote.append(statement)

    @event.listens_for(engine, "commit")
    def _commit(connection: Any) -> None:
        if wrote:
            found.append(tuple(wrote))
            wrote.clear()

    return found


def test_trials_are_listed_by_number_without_gaps(study: optuna.Study) -> None:
    """`get_trials()[number]` is the trial of that number, whatever its state."""
    for number in range(3):
        trial = study.ask()
        if number != 1:
            study.tell(trial, state=TrialState.FAIL)
    assert [trial.number for trial in study.get_trials(deepcopy=False)] == [0, 1, 2]


def test_a_violated_constraint_keeps_a_trial_off_the_front(study: optuna.Study) -> None:
    """`set_constraint(name, value)`: above 0 is infeasible, and `best_trials` leaves it out."""
    for value in (1.0, -1.0):
        trial = study.ask()
        trial.set_constraint("latency", value)
        study.tell(trial, [1.0, 0.5])
    assert [trial.number for trial in study.best_trials] == [1]


def test_a_made_trial_can_carry_constraints(study: optuna.Study) -> None:
    """`create_trial(constraints=)`: how the trials of an earlier study are taken over."""
    for value in (0.5, 0.0):
        made = create_trial(
            params={"width": 8},
            distributions={"width": WIDTHS},
            values=[1.0, 0.5],
            user_attrs={"reused_from": "a"},
            constraints={"latency": value},
        )
        study.add_trial(made)
    assert [trial.number for trial in study.best_trials] == [1]
    assert study.trials[0].user_attrs == {"reused_from": "a"}


def test_an_enqueued_plan_comes_next_and_only_once(study: optuna.Study) -> None:
    """`enqueue_trial(skip_if_exists=True)`: a resumed study does not queue its first plan again."""
    for _ in range(2):
        study.enqueue_trial({"width": 16}, skip_if_exists=True)
    assert [trial.state for trial in study.get_trials()] == [TrialState.WAITING]
    assert study.ask().suggest_categorical("width", [8, 16]) == 16
    study.enqueue_trial({"width": 16}, skip_if_exists=True)
    assert len(study.get_trials()) == 1


def test_a_trial_is_told_failed_without_values(study: optuna.Study) -> None:
    """`tell(trial, state=FAIL)`: a candidate that broke leaves no numbers behind."""
    study.tell(study.ask(), state=TrialState.FAIL)
    (failed,) = study.get_trials()
    assert failed.state == TrialState.FAIL
    assert failed.values is None


@pytest.mark.parametrize("sampler", [TPESampler, NSGAIISampler, RandomSampler])
def test_two_fresh_samplers_of_one_seed_draw_the_same(study: optuna.Study, sampler: type) -> None:
    """Nothing but the seed and the finished trials counts: so a resumed search is repeatable."""
    drawn = []
    for _ in range(2):
        study.sampler = sampler(seed=3)
        trial = study.ask()
        drawn.append(trial.suggest_categorical("width", list(range(50))))
        study.tell(trial, state=TrialState.FAIL)
    assert drawn[0] == drawn[1]
