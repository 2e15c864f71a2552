"""All that autoprune relies on inside Optuna, with `trial_storage`: what nobody has promised."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import Trial, TrialState

from autoprune.search.context.database import connect, is_operational, patiently
from autoprune.search.context.trial_storage import TrialBackend, TrialStorage
from autoprune.storage.database_url import DatabaseUrl

_POOL = {"pool_size": 1, "max_overflow": 4, "pool_pre_ping": True, "pool_recycle": 1800}
ASKED_OF_THE_DATABASE = (
    "create_new_study",
    "get_study_id_from_name",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "set_study_user_attr",
    "set_study_system_attr",
    "get_trial",
    "get_trial_id_from_study_id_trial_number",
    "set_trial_state_values",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "_create_new_trial",
    "_get_trials",
    "_set_trial_param",
    "state_of",
    "states_since",
    "write_trial",
)
"""What Optuna's cache, and ours, asks of the storage behind it. Each may be done twice, if the
first answer was lost: a trial that was made twice is one that nobody holds, which the next worker
goes on with.
"""


def running_trial(study: optuna.Study, number: int) -> Trial:
    """A trial that another worker began, to be told by this one; `ask` only begins new ones."""
    return Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)


def state_of(study: optuna.Study, trial: Trial) -> TrialState:
    """A trial's state as it is now: one trial is read, not all."""
    storage = study._storage
    if isinstance(storage, TrialStorage):
        return storage.state_of(trial._trial_id)
    return storage.get_trial(trial._trial_id).state


def ask(study: optuna.Study) -> Trial:
    """As `study.ask`, but of trials that wait it knows those of the last look."""
    storage = study._storage
    with storage.as_seen() if isinstance(storage, TrialStorage) else nullcontext():
        return study.ask()


def at_once(study: optuna.Study, trial: Trial) -> AbstractContextManager[None]:
    """Write what the body sets of a trial, its end included, in one transaction after the body.

    Raises:
        UpdateFinishedTrialError: Another worker has finished the trial.
    """
    storage = study._storage
    return storage.at_once(trial._trial_id) if isinstance(storage, TrialStorage) else nullcontext()


def set_trial_attribute(study: optuna.Study, number: int, key: str, value: object) -> bool:
    """Note something of a trial by its number; False where it is finished, or there is none."""
    storage = study._storage
    try:
        found = storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
        storage.set_trial_user_attr(found, key, value)
    except (KeyError, UpdateFinishedTrialError):
        return False
    return True


def folder_storage(file: Path) -> TrialStorage:
    """Optuna's storage in an SQLite file, behind its cache."""
    return TrialStorage(TrialBackend(f"sqlite:///{file}"))


def database_storage(url: DatabaseUrl) -> tuple[TrialStorage, Callable[[], None]]:
    """Optuna's storage in a PostgreSQL database, behind its cache, and what closes it.

    It waits for a server that is lost.
    """
    behind = _PatientStorage(url)

    def close() -> None:
        behind.scoped_session.remove()
        behind.engine.dispose()

    return TrialStorage(behind), close


class _PatientStorage(TrialBackend):
    """Its engine is told how to connect by a function: no text of it holds a password."""

    def __init__(self, url: DatabaseUrl) -> None:
        self.url_shown = url.shown
        engine = {"creator": lambda: patiently(lambda: connect(url)), **_POOL}
        super().__init__("postgresql+psycopg://", engine_kwargs=engine)


def _patient(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def asked(*given: Any, **named: Any) -> Any:
        return patiently(lambda: method(*given, **named), passes=_is_lost)

    return asked


def _is_lost(error: BaseException) -> bool:
    return isinstance(error, StorageInternalError) and is_operational(error)


for _name in ASKED_OF_THE_DATABASE:
    setattr(_PatientStorage, _name, _patient(getattr(TrialBackend, _name)))
