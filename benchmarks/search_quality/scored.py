"""A study whose plans are scored without training: what a search does before its fine-tunes."""

from __future__ import annotations

import optuna

from autoprune.domain.goal import Goal
from autoprune.domain.record import TrialRecord
from autoprune.domain.stages import TRIALS
from autoprune.search.context.budget import Budget
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.workbench import Informed
from autoprune.search.evaluate.trials import TrialLoop
from autoprune.search.evaluate.workers import Here
from autoprune.search.learn.profile import Profile
from autoprune.search.propose.objectives import OBJECTIVES
from autoprune.search.propose.proposals import proposals
from autoprune.search.propose.samplers import Known
from autoprune.search.propose.study_sampler import study_sampler
from autoprune.storage.study_folder import StudyFolder


def scored_study(
    bench: Informed,
    listener: SearchListener,
    name: str,
    sampler: str,
    level: float,
    trials: int,
    *,
    proposed: bool,
    seed: int = 0,
) -> list[TrialRecord]:
    """Run or finish a study for plans within `level` of the dense latency.

    Args:
        bench: The data set's model, with the space to draw from.
        listener: Hears what is done.
        name: Of the study's folder.
        sampler: As `--sampler`.
        level: Latency relative to dense, predicted.
        trials: In all.
        proposed: Whether the profile's proposals come first, as in a search.
        seed: As `--seed`.
    """
    folder = StudyFolder(bench.folder.root / "scored" / name)
    folder.root.mkdir(parents=True, exist_ok=True)
    goal = Goal(kind="speedup", value=1 / level)
    changes = {"goal": goal, "sampler": sampler, "seed": seed, "trials": trials}
    bench = bench.grown(
        Informed,
        config=bench.config.model_copy(update=changes),
        folder=folder,
        limit=goal.against(bench.dense),
    )
    profile = Profile.of(bench.pruner, bench.space, bench.predictor)
    known = Known(profile, level, bench.limit.dense_map or 1.0)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name="scored",
        storage=f"sqlite:///{folder.database.resolve()}",
        sampler=study_sampler(sampler, known, seed),
        directions=[objective.direction for objective in OBJECTIVES],
        load_if_exists=True,
    )
    if proposed and not study.get_trials(deepcopy=False):
        for kept in proposals(profile, bench.limit):
            open_choices = {n: w for n, w in kept.items() if len(bench.space.choices[n]) > 1}
            study.enqueue_trial(open_choices)
    workers = Here(bench, listener)
    TrialLoop(bench, study, Budget(None).open(TRIALS), listener, workers).run()
    return folder.trial_records()
