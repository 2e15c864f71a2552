"""The Optuna study made again from the records, where its database is lost or broken."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from autoprune.domain.record import TrialRecord
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.workbench import Informed
from autoprune.search.evaluate.reuse import finished_trial, params_of

BROKEN = "study.broken.db"
_WAIT_S = 0.5  # for a database that is being written
_REBUILT = "made again from the records"  # user attribute


def set_broken_database_aside(database: Path, listener: SearchListener) -> None:
    """Rename a database that was cut off or overwritten; the records hold all that counts."""
    if not database.exists() or _is_sound(database):
        return
    # with its journal, which would undo the new one
    for file in sorted(database.parent.glob(f"{database.name}*")):
        file.replace(file.with_name(BROKEN + file.name.removeprefix(database.name)))
    listener.say(f"{database}: broken; kept as {BROKEN} and made again from the records.")


def rebuild(bench: Informed, study: optuna.Study, listener: SearchListener) -> bool:
    """Enter a study's own records into a new database, each under its number.

    Returns:
        Whether the study is such a one; an interrupted rebuild goes on where it was.
    """
    records = {record.number: record for record in bench.folder.trial_records()}
    entered = len(study.get_trials(deepcopy=False))
    if not study.user_attrs.get(_REBUILT):
        if not records or entered:
            return False
        study.set_user_attr(_REBUILT, True)
    for number in range(entered, max(filter(None, records), default=0) + 1):
        study.add_trial(trial_of(bench, records.get(number)))
    listener.say(f"{len(records)} trials are known from their records.")
    return True


def trial_of(bench: Informed, record: TrialRecord | None) -> FrozenTrial:
    """A record as Optuna's finished trial; a gap in the numbers counts as failed."""
    params = None if record is None or record.failure else params_of(bench, record)
    if record is None or params is None:
        reason = record.failure.reason if record and record.failure else "exception"
        return create_trial(state=TrialState.FAIL, user_attrs={"failure": reason})
    return finished_trial(bench, record, params)


def _is_sound(database: Path) -> bool:
    try:
        address = f"{database.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, _WAIT_S, uri=True)) as opened:
            return bool(opened.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
    except sqlite3.OperationalError:  # locked, or not to be read: whoever needs it will say so
        return True
    except sqlite3.DatabaseError:
        return False
