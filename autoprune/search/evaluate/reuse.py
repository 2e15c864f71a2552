"""A new goal starts from what earlier studies of the same model, data and target found."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import optuna
from optuna.trial import create_trial

from autoprune.domain.record import UNTRAINED, TrialRecord
from autoprune.domain.space import SearchSpace
from autoprune.errors import AutopruneError
from autoprune.latency.measure import at_dense_time
from autoprune.latency.predictor import LatencyPredictor
from autoprune.pruning.trace_geometry import model_geometry
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.study_settings import differences
from autoprune.search.context.workbench import Workbench
from autoprune.search.evaluate.candidate import Candidate
from autoprune.search.propose.distributions import distribution_of
from autoprune.search.propose.objectives import constraint_of, values_of
from autoprune.storage.study_folder import StudyFolder
from autoprune.storage.yaml_io import load_yaml, write_atomic

ORIGIN = "taken_from"  # user attribute of a trial that was taken over
_WEIGHTS = ("model.pt", "model.onnx", "model.pt2")

Source = tuple[StudyFolder, TrialRecord]


def earlier_studies(bench: Workbench) -> list[StudyFolder]:
    """Studies beside this one that have another goal and are alike in all else.

    The same goal again is a run of its own: somebody wants to see it twice.

    Args:
        bench: With the dense model measured: studies of another fingerprint do not count.

    Returns:
        Their folders, the one with most trials first.
    """
    if not bench.config.reuse:
        return []
    own = load_yaml(bench.folder.settings)
    found: list[tuple[int, StudyFolder]] = []
    for path in sorted(bench.folder.root.parent.glob("*/study.yaml")):
        folder = StudyFolder(path.parent)
        with suppress(AutopruneError):  # one that cannot be read is no help
            other = folder.load_settings()
            alike = not differences(other, own, ignored=("goal",))
            if alike and differences(other, own) and _same_place(bench, folder.dense_record()):
                found.append((-len(folder.trial_records()), folder))
    return [folder for _, folder in sorted(found, key=lambda each: each[0])]


def take_tables(bench: Workbench, earlier: list[StudyFolder]) -> None:
    """Copy the latency predictor, and the widths on offer that it led to, into a new study."""
    geometry = model_geometry(bench.pruner.model, bench.pruner.groups, bench.imgsz)
    for folder in earlier:
        if bench.folder.predictor.exists():
            return
        with suppress(AutopruneError):
            LatencyPredictor.load(folder.predictor, geometry)
            if bench.config.space is None:
                SearchSpace.load(folder.space, bench.space.widths, bench.config.protect)
                write_atomic(bench.folder.space, folder.space.read_text("utf-8"))
            write_atomic(bench.folder.predictor, folder.predictor.read_text("utf-8"))


def take_trials(
    bench: Workbench,
    study: optuna.Study,
    dense: TrialRecord,
    earlier: list[StudyFolder],
    listener: SearchListener,
) -> None:
    """Enter the trials of earlier studies into a new one, as finished trials of the new goal.

    Latencies keep their measured ratio to the dense model and are given in today's dense time.
    Scores after a fine-tune come along where the weights were kept, else the plan waits for one.
    What a killed search took over already is not taken twice.
    """
    numbers = {_key(trial.params): trial.number for trial in _taken(study)}
    for folder, record in _plans(bench, earlier):
        params = _params(bench, record)
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
            study.add_trial(_finished(bench, ours, dense, params))
            numbers[_key(params)] = number
        _save(bench, ours)
    if numbers:
        named = ", ".join(folder.root.name for folder in earlier)
        listener.say(f"{len(numbers)} plans are known from earlier studies ({named}).")


def take_baseline(
    bench: Workbench, earlier: Sequence[StudyFolder], candidate: Candidate
) -> TrialRecord | None:
    """A baseline that an earlier study measured and trained; None if none did, or its weights went.

    Returns:
        The record as this study has it, already on disk.
    """
    signature = bench.pruner.signature(candidate.plan)
    for folder in earlier:
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


def _same_place(bench: Workbench, dense: TrialRecord | None) -> bool:
    assert bench.dense_latency is not None
    known = dense.latency if dense is not None else None
    return known is not None and known.fingerprint == bench.dense_latency.fingerprint


def _plans(bench: Workbench, earlier: list[StudyFolder]) -> list[Source]:
    """Every scored plan once, from where its weights are; this study's baselines left out."""
    baselines = {
        bench.pruner.signature(record.pruning_plan()) for record in bench.folder.baseline_records()
    }
    found: dict[tuple[int, ...], Source] = {}
    for folder in earlier:
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


def _params(bench: Workbench, record: TrialRecord) -> dict[str, int] | None:
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
    for name in _WEIGHTS:
        with suppress(FileNotFoundError):
            shutil.copyfile(source.folder_of(record) / name, target / f"{name}.part")
            (target / f"{name}.part").replace(target / name)
    if (target / "model.pt").exists() and source.reread(record) == record:
        return True
    for name in _WEIGHTS:
        (target / name).unlink(missing_ok=True)
    return False


def _ours(
    bench: Workbench,
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
        assert record.latency is not None
        assert bench.dense_latency is not None
        latency = at_dense_time(record.latency, bench.dense_latency)
        return record.model_copy(update={**common, "state": "complete", "latency": latency})
    score = record.at_rung(UNTRAINED)
    assert score is not None
    bare = {"state": "scored", "latency": None, "rungs": (score,), "final": None}
    return record.model_copy(update={**common, **bare, "seconds": score.seconds})


def _save(bench: Workbench, record: TrialRecord) -> TrialRecord:
    record.pruning_plan().save(bench.folder.folder_of(record) / "plan.yaml")
    bench.folder.save_record(record)
    return record


def _finished(
    bench: Workbench, record: TrialRecord, dense: TrialRecord, params: dict[str, int]
) -> optuna.trial.FrozenTrial:
    """A trial that Optuna did not ask for."""
    return create_trial(
        values=values_of(record),
        params=params,
        distributions={name: distribution_of(bench.space.choices[name]) for name in params},
        constraints=dict([constraint_of(record, bench.config.goal, dense)]),
        user_attrs={ORIGIN: record.taken_from},
    )
