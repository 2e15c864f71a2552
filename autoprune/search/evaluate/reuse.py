"""A new goal starts from what earlier studies of the same model, data and target found."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import optuna
from optuna.trial import create_trial

from autoprune.domain.record import UNTRAINED, TrialRecord
from autoprune.latency.estimate import at_dense_time
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.workbench import Informed
from autoprune.search.evaluate.candidate import Candidate
from autoprune.search.propose.distributions import distribution_of
from autoprune.search.propose.objectives import constraint_of, values_of
from autoprune.storage.study_folder import StudyFolder, weights_in

ORIGIN = "taken_from"  # user attribute of a trial that was taken over

Source = tuple[StudyFolder, TrialRecord]


def take_trials(bench: Informed, study: optuna.Study, listener: SearchListener) -> None:
    """Enter the trials of earlier studies into a new one, as finished trials of the new goal.

    Latencies keep their measured ratio to the dense model and are given in today's dense time.
    Scores after a fine-tune come along where the weights were kept, else the plan waits for one.
    What a killed search took over already is not taken twice.
    """
    numbers = {_key(trial.params): trial.number for trial in _taken(study)}
    for folder, record in _plans(bench):
        params = params_of(bench, record)
        if params is None:
            continue
        known = numbers.get(_key(params))
        number = len(study.get_trials(deepcopy=False)) if known is None else known
        if (bench.folder.trial(number) / "record.json").exists():
            continue
        trained = _copy_weights(folder, record, bench.folder.trial(number))
        candidate = Candidate("trial", f"trial {number}", number, record.pruning_plan())
        ours = _ours(bench, record, candidate, folder, trained=trained)
        if known is None:
            study.add_trial(finished_trial(bench, ours, params))
            numbers[_key(params)] = number
        _save(bench, ours)
    if numbers:
        named = ", ".join(folder.root.name for folder in bench.earlier)
        listener.say(f"{len(numbers)} plans are known from earlier studies ({named}).")


def take_baseline(bench: Informed, candidate: Candidate) -> TrialRecord | None:
    """A baseline that an earlier study measured and trained; None if none did, or its weights went.

    Returns:
        The record as this study has it, already on disk.
    """
    signature = bench.pruner.signature(candidate.plan)
    for folder in bench.earlier:
        for record in folder.baseline_records():
            alike = (
                record.name == candidate.name
                and record.state == "complete"
                and bench.pruner.signature(record.pruning_plan()) == signature
            )
            if alike and _copy_weights(folder, record, candidate.folder(bench.folder)):
                return _save(bench, _ours(bench, record, candidate, folder, trained=True))
    return None


def count_taken(study: optuna.Study) -> int:
    """How many of a study's trials were taken over."""
    return len(_taken(study))


def _taken(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return [trial for trial in study.get_trials(deepcopy=False) if ORIGIN in trial.user_attrs]


def _plans(bench: Informed) -> list[Source]:
    """Every scored plan once, from where its weights are; this study's baselines left out."""
    baselines = {
        bench.pruner.signature(record.pruning_plan()) for record in bench.folder.baseline_records()
    }
    found: dict[tuple[int, ...], Source] = {}
    for folder in bench.earlier:
        for record in folder.trial_records():
            usable = record.state != "failed" and record.same_as is None
            signature = bench.pruner.signature(record.pruning_plan())
            if not usable or record.at_rung(UNTRAINED) is None or signature in baselines:
                continue
            if signature not in found or _weighs(folder, record) > _weighs(*found[signature]):
                found[signature] = folder, record
    return list(found.values())


def _weighs(folder: StudyFolder, record: TrialRecord) -> int:
    """Rungs that would come along."""
    return len(record.rungs) if (folder.folder_of(record) / "model.pt").exists() else 1


def params_of(bench: Informed, record: TrialRecord) -> dict[str, int] | None:
    """The kept widths of the open parameters; None if the space does not offer one of them."""
    kept = [
        width for row in bench.pruner.kept_widths(record.pruning_plan()).values() for width in row
    ]
    widths = dict(zip(bench.space.choices, kept, strict=True))
    if any(widths[name] not in offered for name, offered in bench.space.choices.items()):
        return None
    return {name: widths[name] for name, offered in bench.space.choices.items() if len(offered) > 1}


def _key(params: dict[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(params.items()))


def _copy_weights(source: StudyFolder, record: TrialRecord, target: Path) -> bool:
    """Copy a trained plan's weights; False if they are gone, or were changed meanwhile."""
    target.mkdir(parents=True, exist_ok=True)
    if record.map50_95 is None or record.latency is None:
        return False
    for file in weights_in(source.folder_of(record)):
        with suppress(FileNotFoundError):
            draft = target / f"{file.name}.part"
            shutil.copyfile(file, draft)
            draft.replace(target / file.name)
    if (target / "model.pt").exists() and source.reread(record) == record:
        return True
    for file in weights_in(target):
        file.unlink(missing_ok=True)
    return False


def _ours(
    bench: Informed,
    record: TrialRecord,
    candidate: Candidate,
    source: StudyFolder,
    *,
    trained: bool,
) -> TrialRecord:
    """The record as the new study has it."""
    plan = bench.annotated(candidate.plan)
    common = {
        "name": candidate.name,
        "number": candidate.number,
        "plan": plan.to_mapping(),
        "predicted_ms": bench.predicted_ms(plan),
        "confirmed": None,
        "taken_from": record.taken_from or f"{source.root.name}/{record.name}",
    }
    if trained:
        latency = record.latency and at_dense_time(record.latency, bench.dense_latency)
        return record.model_copy(update={**common, "state": "complete", "latency": latency})
    scores = tuple(score for score in record.rungs if score.rung == UNTRAINED)
    bare = {"state": "scored", "latency": None, "rungs": scores, "final": None}
    seconds = sum(score.seconds for score in scores)
    return record.model_copy(update={**common, **bare, "seconds": seconds})


def _save(bench: Informed, record: TrialRecord) -> TrialRecord:
    record.pruning_plan().save(bench.folder.folder_of(record) / "plan.yaml")
    bench.folder.save_record(record)
    return record


def finished_trial(
    bench: Informed, record: TrialRecord, params: dict[str, int]
) -> optuna.trial.FrozenTrial:
    """A record as a trial that Optuna did not ask for; `params` as of `params_of`."""
    return create_trial(
        values=values_of(record),
        params=params,
        distributions={name: distribution_of(bench.space.choices[name]) for name in params},
        constraints=dict([constraint_of(record, bench.limit)]),
        user_attrs={ORIGIN: record.taken_from} if record.taken_from else {},
    )
