"""A new goal starts from what earlier studies of the same model, data and target found."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import create_trial

from autoprune.errors import AutopruneError
from autoprune.latency.measure import at_dense_time
from autoprune.record import UNTRAINED, TrialRecord
from autoprune.search.listener import SearchListener
from autoprune.search.objectives import constraint_of, values_of
from autoprune.search.profile_sampler import distribution_of
from autoprune.search.settings import differences
from autoprune.search.workbench import Workbench
from autoprune.study_folder import StudyFolder
from autoprune.yaml_io import load_yaml, write_atomic

ORIGIN = "taken_from"  # user attribute of a trial that was taken over
MAY_DIFFER = ("goal", "sampler")  # all else must be as in the new study
_WEIGHTS = ("model.pt", "model.onnx", "model.pt2")


@dataclass(frozen=True)
class Earlier:
    """A study whose trials hold for the new one."""

    folder: StudyFolder
    records: tuple[TrialRecord, ...]  # trials with a score, repeated plans left out


def earlier_studies(bench: Workbench) -> list[Earlier]:
    """Studies beside this one that differ in the goal at most; the one with most trials first.

    Args:
        bench: With the dense model measured: studies of another fingerprint do not count.
    """
    if not bench.config.reuse:
        return []
    own = load_yaml(bench.folder.settings)
    found = []
    for path in bench.folder.root.parent.glob("*/study.yaml"):
        folder = StudyFolder(path.parent)
        if folder.root.resolve() == bench.folder.root.resolve():
            continue
        try:
            if not differences(folder.load_settings(), own, MAY_DIFFER) and _same_place(
                bench, folder.dense_record()
            ):
                found.append(Earlier(folder, _usable(folder)))
        except AutopruneError:  # not readable: then it is no help
            continue
    return sorted(found, key=lambda study: (-len(study.records), str(study.folder.root)))


def take_tables(bench: Workbench, earlier: list[Earlier]) -> None:
    """Copy the latency predictor, and the widths on offer that it led to, into a new study."""
    for study in earlier:
        if bench.folder.predictor.exists() or not study.folder.predictor.exists():
            continue
        if bench.config.space is None:
            if not study.folder.space.exists():
                continue
            write_atomic(bench.folder.space, study.folder.space.read_text("utf-8"))
        write_atomic(bench.folder.predictor, study.folder.predictor.read_text("utf-8"))


def take_trials(
    bench: Workbench,
    study: optuna.Study,
    dense: TrialRecord,
    earlier: list[Earlier],
    listener: SearchListener,
) -> None:
    """Enter the trials of earlier studies into a new one, as finished trials of the new goal.

    Latencies keep their measured ratio to the dense model and are given in today's dense time.
    Scores after a fine-tune come along where the weights were kept, else the plan waits for one.
    What a killed search took over already is not taken twice.
    """
    numbers = taken_over(study)
    seen: set[tuple[int, ...]] = set()
    for source in earlier:
        for record in source.records:
            signature = bench.pruner.signature(record.pruning_plan())
            params = _params(bench, record)
            if params is None or signature in seen:
                continue
            seen.add(signature)
            origin = f"{source.folder.root.name}/{record.name}"
            folder = source.folder.folder_of(record)
            ours = _ours(bench, record, dense, origin, trained=(folder / "model.pt").exists())
            if origin not in numbers:
                numbers[origin] = len(study.get_trials(deepcopy=False))
                _add(bench, study, ours, dense, params, origin)
            _write(bench, ours, numbers[origin], folder)
    if numbers:
        named = ", ".join(study.folder.root.name for study in earlier if study.records)
        listener.say(f"{len(numbers)} plans are known from earlier studies ({named}).")


def taken_over(study: optuna.Study) -> dict[str, int]:
    """Origin -> number of every trial that was taken over."""
    return {
        trial.user_attrs[ORIGIN]: trial.number
        for trial in study.get_trials(deepcopy=False)
        if ORIGIN in trial.user_attrs
    }


def _same_place(bench: Workbench, dense: TrialRecord | None) -> bool:
    assert bench.dense_latency is not None
    known = dense.latency if dense is not None else None
    return known is not None and known.fingerprint == bench.dense_latency.fingerprint


def _usable(folder: StudyFolder) -> tuple[TrialRecord, ...]:
    return tuple(
        record
        for record in folder.trial_records()
        if record.state != "failed" and record.same_as is None and record.at_rung(UNTRAINED)
    )


def _params(bench: Workbench, record: TrialRecord) -> dict[str, int] | None:
    """The kept widths of the open parameters; None if the space does not offer one of them."""
    kept = bench.pruner.kept_widths(record.pruning_plan())
    widths = dict(
        zip(bench.space.choices, (w for each in kept.values() for w in each), strict=True)
    )
    if any(widths[name] not in offered for name, offered in bench.space.choices.items()):
        return None
    return {name: widths[name] for name, offered in bench.space.choices.items() if len(offered) > 1}


def _ours(
    bench: Workbench, record: TrialRecord, dense: TrialRecord, origin: str, *, trained: bool
) -> TrialRecord:
    """The record as the new study would have it, but for its number."""
    assert dense.latency is not None
    measured = record.latency if trained and record.map50_95 is not None else None
    return record.model_copy(
        update={
            "state": "complete" if measured else "scored",
            "predicted_ms": bench.predicted_ms(record.pruning_plan()),
            "latency": measured and at_dense_time(measured, dense.latency),
            "rungs": record.rungs if measured else (record.at_rung(UNTRAINED),),
            "final": record.final if measured else None,
            "confirmed": None,
            "taken_from": origin,
        }
    )


def _add(
    bench: Workbench,
    study: optuna.Study,
    record: TrialRecord,
    dense: TrialRecord,
    params: dict[str, int],
    origin: str,
) -> None:
    """Tell Optuna of a trial that it did not ask for."""
    choices = bench.space.choices
    study.add_trial(
        create_trial(
            values=values_of(record),
            params=params,
            distributions={name: distribution_of(choices[name]) for name in params},
            constraints=dict([constraint_of(record, bench.config.goal, dense)]),
            user_attrs={ORIGIN: origin},
        )
    )


def _write(bench: Workbench, record: TrialRecord, number: int, source: Path) -> None:
    """Give a record its number, its folder and, where it was trained, its weights."""
    folder = bench.folder.trial(number)
    if (folder / "record.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    record.pruning_plan().save(folder / "plan.yaml")
    for name in _WEIGHTS if record.state == "complete" else ():
        if (source / name).exists():
            draft = folder / f"{name}.part"
            shutil.copyfile(source / name, draft)
            draft.replace(folder / name)
    bench.folder.save_record(
        record.model_copy(update={"name": f"trial {number}", "number": number})
    )
