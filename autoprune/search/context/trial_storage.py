"""Optuna's database storage, which writes what belongs together of a trial in one transaction.

Optuna commits each parameter and each attribute of a trial by itself: some thirty commits a trial
on a space of twenty parameters, each a write to the disk that is waited for. See `at_once`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import insert, or_, select, update

from autoprune.search.context.trial_writes import Writes, param_rows, with_writes

_FEW = 200  # trials that are read by their numbers; of more than that, all are read


class TrialBackend(RDBStorage):
    """Optuna's own storage with three methods more, on Optuna's own tables."""

    def write_trial(self, trial_id: int, writes: Writes) -> datetime | None:
        """Write all of it, or nothing.

        Returns:
            When. None where nothing was written, since the trial has such parameters: another
            worker's, or ours, if the answer to a first call was lost.

        Raises:
            UpdateFinishedTrialError: The trial is finished.
        """
        trial: Any = models.TrialModel
        own, written = trial.trial_id == trial_id, list[datetime]()
        with _create_scoped_session(self.scoped_session, True) as session:
            state = session.execute(select(trial.state).where(own).with_for_update()).scalar_one()
            self.check_trial_is_updatable(trial_id, state)
            if rows := param_rows(trial_id, writes):
                session.execute(insert(models.TrialParamModel.__table__), rows)
            for model, attributes in (
                (models.TrialUserAttributeModel, writes.user),
                (models.TrialSystemAttributeModel, writes.system),
            ):
                for key, content in attributes.items():
                    self._set_trial_attr_without_commit(session, model, trial_id, key, content)
            if rows := _value_rows(trial_id, writes.values or ()):
                session.execute(insert(models.TrialValueModel.__table__), rows)
            now = datetime.now()  # as Optuna
            if writes.state is not None:
                changed = {"state": writes.state, "datetime_complete": now}
                session.execute(update(trial.__table__).where(own).values(changed))
            written.append(now)
        return written[0] if written else None  # the rows were refused

    def states_since(
        self, study_id: int, unfinished: set[int], since: int
    ) -> dict[int, TrialState]:
        """Id -> state now of these trials and of all whose id is greater; nothing else of them."""
        trial = models.TrialModel
        with _create_scoped_session(self.scoped_session) as session:
            asked = session.query(trial.trial_id, trial.state).filter(trial.study_id == study_id)
            news = or_(trial.trial_id > since, trial.trial_id.in_(unfinished))
            return {row.trial_id: row.state for row in asked.filter(news)}

    def state_of(self, trial_id: int) -> TrialState:
        """A trial's state as it is now, and nothing else of it.

        Raises:
            KeyError: There is no such trial.
        """
        with _create_scoped_session(self.scoped_session) as session:
            asked = session.query(models.TrialModel.state)
            row = asked.filter(models.TrialModel.trial_id == trial_id).one_or_none()
        if row is None:
            raise KeyError(trial_id)
        found: TrialState = row[0]
        return found

    def _build_frozen_trial_from_trial_model(self, trial: Any) -> FrozenTrial:
        """As Optuna's own, but a distribution, which all trials share, is parsed once."""
        values = {
            row.objective: row.stored_repr_to_value(row.value, row.value_type)
            for row in trial.values
        }
        steps = {
            row.step: row.stored_repr_to_intermediate_value(
                row.intermediate_value, row.intermediate_value_type
            )
            for row in trial.intermediate_values
        }
        params = sorted(trial.params, key=lambda row: row.param_id)
        known = {row.param_name: _distribution(row.distribution_json) for row in params}
        return FrozenTrial(
            number=trial.number,
            state=trial.state,
            value=None,
            values=[values[place] for place in sorted(values)] or None,
            datetime_start=trial.datetime_start,
            datetime_complete=trial.datetime_complete,
            params={
                row.param_name: known[row.param_name].to_external_repr(row.param_value)
                for row in params
            },
            distributions=known,
            user_attrs={row.key: json.loads(row.value_json) for row in trial.user_attributes},
            system_attrs={row.key: json.loads(row.value_json) for row in trial.system_attributes},
            intermediate_values=steps,
            trial_id=trial.trial_id,
        )


def _value_rows(trial_id: int, values: Sequence[float]) -> list[dict[str, Any]]:
    """Rows of a trial's values."""
    rows = []
    for objective, each in enumerate(values):
        value, kind = models.TrialValueModel.value_to_stored_repr(each)
        place = {"trial_id": trial_id, "objective": objective}
        rows.append({**place, "value": value, "value_type": kind})
    return rows


@lru_cache(maxsize=4096)
def _distribution(text: str) -> BaseDistribution:
    return json_to_distribution(text)


class TrialStorage(_CachedStorage):
    """Optuna's cache in front of a `TrialBackend`."""

    _backend: TrialBackend

    def __init__(self, backend: TrialBackend) -> None:
        super().__init__(backend)
        self._kept: dict[int, Writes] = {}
        self._read: dict[int, FrozenTrial] = {}  # of the trials in `_kept`
        self._made: int | None = None  # the trial that this process has just made
        self._stale = False  # whether running trials are to be read again, all of each
        self._as_seen = False  # whether the last look is good enough

    @contextmanager
    def at_once(self, trial_id: int) -> Iterator[None]:
        """Write what the body sets of a trial at its end, all of it or, if it fails, nothing.

        What is read of the trial in the body does not show it.

        Raises:
            UpdateFinishedTrialError: Another worker has finished the trial.
        """
        writes = self._kept[trial_id] = Writes()
        try:
            yield
        finally:
            del self._kept[trial_id]
            self._read.pop(trial_id, None)
        if writes != Writes():
            written = self._backend.write_trial(trial_id, writes)
            if written is not None:
                self._remember(trial_id, writes, written)

    def _remember(self, trial_id: int, writes: Writes, written: datetime) -> None:
        """Take what was just written into the cache, as a reader of the database would find it.

        Those who hold the trial as it was keep that one.
        """
        with self._lock:
            study_id, number = self._trial_id_to_study_id_and_number[trial_id]
            trials = self._studies[study_id].trials
            trials[number] = with_writes(trial_id, trials[number], writes, written)

    def state_of(self, trial_id: int) -> TrialState:
        """A trial's state as it is now."""
        return self._backend.state_of(trial_id)

    @contextmanager
    def as_seen(self) -> Iterator[None]:
        """In the body, list trials as they were at the last look."""
        self._as_seen = True
        try:
            yield
        finally:
            self._as_seen = False

    def reread_running(self) -> None:
        """With the next look, read what workers have noted of their running trials since."""
        self._stale = True

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """See `optuna.storages.BaseStorage`."""
        trial_id = super().create_new_trial(study_id, template_trial)
        self._made = trial_id if template_trial is None else None
        return trial_id

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """See `optuna.storages.BaseStorage`; one that was just made here need not be read."""
        if trial_id == self._made:
            self._made = None
            study_id, number = self._trial_id_to_study_id_and_number[trial_id]
            return copy.deepcopy(self._studies[study_id].trials[number])
        if trial_id not in self._kept:
            return super().get_trial(trial_id)
        if trial_id not in self._read:
            self._read[trial_id] = self._own(trial_id) or super().get_trial(trial_id)
        return self._read[trial_id]

    def _own(self, trial_id: int) -> FrozenTrial | None:
        """A copy of a trial whose plan is known here; None where it has to be read.

        That another worker has finished it meanwhile is noticed when it is written.
        """
        with self._lock:
            known = self._trial_id_to_study_id_and_number.get(trial_id)
            trial = None if known is None else self._studies[known[0]].trials[known[1]]
        return (
            with_writes(trial_id, trial, Writes()) if trial is not None and trial.params else None
        )

    def _read_trials_from_remote_storage(self, study_id: int) -> None:
        """As Optuna's, but of a running trial that still runs only the state is read.

        With many workers there are as many running trials, which each of them reads several times
        for each trial of its own; the plan of one, once it is there, does not change.
        """
        study = self._studies.get(study_id)
        if study is not None and self._as_seen:
            return
        if study is None or not study.trials or self._stale:
            self._stale = False
            super()._read_trials_from_remote_storage(study_id)
            return
        with self._lock:
            since, unfinished = study.last_finished_trial_id, study.unfinished_trial_ids
            states = self._backend.states_since(study_id, unfinished, since)
            news = {each for each, state in states.items() if self._is_news(study_id, each, state)}
            if len(news) <= _FEW:
                found = self._backend._get_trials(study_id, None, news, max(news)) if news else []
                self._add_trials_to_cache(study_id, found)
                for trial_id in states.keys() | {trial._trial_id for trial in found}:
                    self._note_seen(study_id, trial_id)
                return
        super()._read_trials_from_remote_storage(study_id)

    def _is_news(self, study_id: int, trial_id: int, state: TrialState) -> bool:
        known = self._trial_id_to_study_id_and_number.get(trial_id)
        if known is None:
            return True
        trial = self._studies[study_id].trials[known[1]]
        if trial.state != state:
            return True
        return state == TrialState.RUNNING and not trial.params and trial_id not in self._kept

    def _note_seen(self, study_id: int, trial_id: int) -> None:
        """Whether a trial in the cache is to be asked for again."""
        study = self._studies[study_id]
        number = self._trial_id_to_study_id_and_number[trial_id][1]
        if study.trials[number].state.is_finished():
            study.unfinished_trial_ids.discard(trial_id)
            study.last_finished_trial_id = max(study.last_finished_trial_id, trial_id)
        else:
            study.unfinished_trial_ids.add(trial_id)

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """See `optuna.storages.BaseStorage`."""
        if (writes := self._kept.get(trial_id)) is not None:
            writes.params[param_name] = param_value_internal, distribution
        else:
            super().set_trial_param(trial_id, param_name, param_value_internal, distribution)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """See `optuna.storages.BaseStorage`."""
        if (writes := self._kept.get(trial_id)) is not None:
            writes.user[key] = value
        else:
            super().set_trial_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """See `optuna.storages.BaseStorage`."""
        if (writes := self._kept.get(trial_id)) is not None:
            writes.system[key] = value
        else:
            super().set_trial_system_attr(trial_id, key, value)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """See `optuna.storages.BaseStorage`."""
        if (writes := self._kept.get(trial_id)) is not None:
            writes.state, writes.values = state, values
            return True
        return super().set_trial_state_values(trial_id, state, values)
