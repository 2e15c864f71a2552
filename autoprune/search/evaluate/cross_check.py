"""Database and records are held against each other when a search starts; both are kept for good.

The records hold what was measured, the database what Optuna was told of it. Where they disagree the
record counts, the trial is named, and what can be mended is.
"""

from __future__ import annotations

from collections.abc import Iterator

import optuna
from optuna.trial import FrozenTrial, TrialState

from autoprune.domain.record import TrialRecord
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.optuna_inside import running_trial
from autoprune.search.context.workbench import Informed
from autoprune.search.evaluate.rebuild import trial_of
from autoprune.search.evaluate.reuse import params_of
from autoprune.search.propose.objectives import values_of

_NAMED = 5  # of the same kind; the others are counted
_GIVEN_UP = "given up for the record of another plan"  # user attribute


def cross_check(bench: Informed, study: optuna.Study, listener: SearchListener) -> None:
    """Name each trial of which the study's records and its database say different things.

    Records of trials that the database does not know are entered into it, as after the loss of all
    of it. A trial under way whose record is of another plan is told as failed: its draw is lost,
    the record stays. Trials that have a state and no record are the trial loop's, see `TrialLoop`.

    Args:
        bench: The study; no other search may be at this point.
        study: Its database.
        listener: Told what disagrees.
    """
    records = {record.number: record for record in bench.folder.trial_records()}
    trials = study.get_trials(deepcopy=False)  # after the records: each is older than its record
    known = len(trials)
    beyond = sorted(number for number in records if number is not None and number >= known)
    if beyond:
        listener.say(
            f"{bench.folder.database} ends before trial {known}, but there are records of"
            f" {_listed(beyond)}: they are entered from their records."
        )
        for number in range(known, beyond[-1] + 1):
            study.add_trial(trial_of(bench, records.get(number)))
    different = [
        (trial, why)
        for trial in trials
        if (record := records.get(trial.number)) is not None
        for why in _differences(bench, trial, record)
    ]
    for trial, why in different[:_NAMED]:
        listener.say(f"trial {trial.number}: {why}; the record counts.")
    if len(different) > _NAMED:
        listener.say(f"{len(different) - _NAMED} more trials differ from their records.")
    for trial, _ in different:
        if trial.state == TrialState.RUNNING:
            running = running_trial(study, trial.number)
            running.set_user_attr("failure", _GIVEN_UP)
            study.tell(running, state=TrialState.FAIL)


def _differences(bench: Informed, trial: FrozenTrial, record: TrialRecord) -> Iterator[str]:
    """What a trial says otherwise than its record, at most one thing."""
    params = params_of(bench, record)
    drawn = trial.state in (TrialState.COMPLETE, TrialState.RUNNING)
    if drawn and params is not None and trial.params != params:
        yield "its record is of another plan than the database's"
    elif trial.state == TrialState.FAIL and record.failure is None:
        if trial.user_attrs.get("failure") != _GIVEN_UP:
            yield "the database has it as failed, its record has not"
    elif trial.state == TrialState.COMPLETE and _other_values(trial, record):
        yield f"the database has the values {trial.values}, its record {values_of(record)}"


def _other_values(trial: FrozenTrial, record: TrialRecord) -> bool:
    """Of a record that did not fail later on: what Optuna was told once never changes."""
    return record.failure is None and trial.values != values_of(record)


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:_NAMED]))
    more = len(numbers) - _NAMED
    return f"trials {shown} and {more} more" if more > 0 else f"trials {shown}"
