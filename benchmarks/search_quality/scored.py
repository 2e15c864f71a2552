"""A study whose plans are scored without training: what a search does before its fine-tunes."""

from __future__ import annotations

from dataclasses import replace

import optuna

from autoprune.domain.goal import Goal
from autoprune.domain.record import TrialRecord
from autoprune.search.context.workbench import Workbench
from autoprune.search.evaluate.trials import TrialLoop
from autoprune.search.learn.profile import Profile
from autoprune.search.propose.objectives import OBJECTIVES
from autoprune.search.propose.proposals import proposals
from autoprune.search.propose.samplers import Known
from autoprune.search.propose.study_sampler import study_sampler
from autoprune.storage.study_folder import StudyFolder
from benchmarks.search_quality.bench import Quality


def scored_study(
    quality: Quality,
    bench: Workbench,
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
        quality: The data set's model.
        bench: The same, with the space to draw from.
        name: Of the study's folder.
        sampler: As `--sampler`.
        level: Latency relative to dense, predicted.
        trials: In all.
        proposed: Whether the profile's proposals come first, as in a search.
        seed: As `--seed`.
    """
    assert bench.predictor is not None
    assert quality.dense.latency is not None
    folder = StudyFolder(bench.folder.root / "scored" / name)
    folder.root.mkdir(parents=True, exist_ok=True)
    goal = Goal(kind="speedup", value=1 / level)
    changes = {"goal": goal, "sampler": sampler, "seed": seed, "trials": trials}
    bench = replace(bench, config=bench.config.model_copy(update=changes), folder=folder)
    profile = Profile.of(bench.pruner, bench.space, bench.predictor)
    known = Known(profile, level, quality.dense.map50_95 or 1.0)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name="scored",
        storage=f"sqlite:///{folder.database.resolve()}",
        sampler=study_sampler(sampler, known, seed),
        directions=[objective.direction for objective in OBJECTIVES],
        load_if_exists=True,
    )
    if proposed and not study.get_trials(deepcopy=False):
        for kept in proposals(profile, goal, quality.dense.latency.median_ms):
            open_choices = {n: w for n, w in kept.items() if len(bench.space.choices[n]) > 1}
            study.enqueue_trial(open_choices)
    TrialLoop(bench, study, quality.dense, [], quality.listener, None).run()
    return folder.trial_records()
