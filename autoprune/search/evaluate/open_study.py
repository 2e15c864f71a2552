"""The Optuna study of a search: created with its proposals, or opened again."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage

from autoprune.errors import StorageFailed, StudyMismatch
from autoprune.search.context.database_study import DatabaseStudy
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.optuna_inside import folder_storage
from autoprune.search.context.workbench import Checked, Informed
from autoprune.search.evaluate.rebuild import rebuild, set_broken_database_aside
from autoprune.search.evaluate.reuse import take_trials
from autoprune.search.learn.profile import Profile
from autoprune.search.propose.objectives import OBJECTIVES
from autoprune.search.propose.proposals import proposals
from autoprune.search.propose.samplers import Known
from autoprune.search.propose.study_sampler import study_sampler
from autoprune.storage.yaml_io import write_atomic


def open_study(bench: Informed, listener: SearchListener) -> optuna.Study:
    """Create or continue the Optuna study.

    A new one takes over what earlier studies know, and gets the profile's proposals enqueued. A
    broken one is made again from the study's records.

    Raises:
        StudyMismatch: The study's space.yaml was changed since it began.
    """
    profile = Profile.of(bench.pruner, bench.space, bench.predictor)
    known = Known(profile, bench.limit.latency_share, bench.limit.dense_map or 1.0)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=bench.config.name,
        storage=_storage(bench, listener),
        sampler=study_sampler(bench.config.sampler, known, bench.config.seed),
        directions=[objective.direction for objective in OBJECTIVES],
        load_if_exists=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # the dashboard's column names
        study.set_metric_names([objective.name for objective in OBJECTIVES])
    _refuse_other_widths(study, bench)
    write_atomic(bench.folder.profile, json.dumps(profile.to_mapping(), indent=1) + "\n")
    if not study.user_attrs.get("proposals enqueued"):
        if not rebuild(bench, study, listener):  # which holds what was taken over
            take_trials(bench, study, listener)
        for kept in proposals(profile, bench.limit):
            open_choices = {
                name: width for name, width in kept.items() if len(bench.space.choices[name]) > 1
            }
            study.enqueue_trial(open_choices, skip_if_exists=True)
        study.set_user_attr("proposals enqueued", True)
    return study


def _storage(bench: Informed, listener: SearchListener) -> BaseStorage:
    """The study's database: in its folder, or the one that workers share."""
    if isinstance(bench.folder.shared, DatabaseStudy):
        return bench.folder.shared.storage
    set_broken_database_aside(bench.folder.database, listener)
    return folder_storage(bench.folder.database.resolve())


@contextmanager
def database_errors(bench: Checked) -> Iterator[None]:
    """A database that cannot be read or written is the disk's fault: the study is paused.

    Raises:
        StorageFailed: Instead of Optuna's own error; names the file.
    """
    try:
        yield
    except StorageInternalError as error:
        reason = " ".join(str(error.__cause__ or error).split())
        shared = bench.folder.shared
        place = str(bench.folder.database) if shared is None else shared.shown
        raise StorageFailed(f"{place}: {reason}") from error


def _refuse_other_widths(study: optuna.Study, bench: Informed) -> None:
    """Note a new study's widths in it, or refuse to continue it with others."""
    offered = {name: list(widths) for name, widths in bench.space.choices.items()}
    if study.user_attrs.get("widths on offer", offered) != offered:
        raise StudyMismatch(
            f"{bench.folder.space}: not the widths that this study began with; undo the change, or"
            " give the file to a new study: --space and --name"
        )
    study.set_user_attr("widths on offer", offered)
