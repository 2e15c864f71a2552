"""Study: one study as the report sees it, read once: settings, outcome, records, front, choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from autoprune.domain.front import pareto_front
from autoprune.domain.goal import Evidence, Limit
from autoprune.domain.outcome import Outcome
from autoprune.domain.progress import Moment, read_moments
from autoprune.domain.ranking import best_known, nearest_miss
from autoprune.domain.record import LONG, TrialRecord
from autoprune.domain.task import BOX_METRIC
from autoprune.domain.verdict import Verdict
from autoprune.report.asked import StudySettings, load_settings
from autoprune.report.learned import (
    SavedPredictor,
    SavedProfile,
    load_predictor,
    load_profile,
    load_verdict,
)
from autoprune.storage.study_folder import StudyFolder

Standing = Literal["chosen", "so far", "nearest"]
"""What the highlighted record is: the search's answer, the best yet, or the nearest miss."""


@dataclass(frozen=True)
class Study:
    """Everything the report shows.

    Attributes:
        front: Non-dominated trials and baselines, fastest first.
        highlight: The record the answer is about, if there is one, and
        standing: what it is.
        limit: The goal against the dense model; None before that was measured.
        budget_ms: The latency limit, None for an accuracy goal or when it is not known yet.
        predictor: What the search learned about latency, and
        profile: about accuracy; None where a study has none.
        verdict: What was timed before the first trial; None where nothing was.
        stage_seconds: Stage -> seconds spent in it; empty where none were noted.
        moments: The best so far over time, the earliest first; empty where none were noted.
        broken: Why records are left out that cannot be believed.
    """

    folder: StudyFolder
    settings: StudySettings
    outcome: Outcome | None
    dense: TrialRecord | None
    baselines: tuple[TrialRecord, ...]
    trials: tuple[TrialRecord, ...]
    front: tuple[TrialRecord, ...]
    highlight: TrialRecord | None
    standing: Standing | None
    limit: Limit | None
    budget_ms: float | None
    predictor: SavedPredictor | None = None
    profile: SavedProfile | None = None
    verdict: Verdict | None = None
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    moments: tuple[Moment, ...] = ()
    broken: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.root.resolve().name

    @property
    def metric(self) -> str:
        """The main metric of the model's task, which plans are compared on."""
        return next((record.metric for record in self.records if record.rungs), BOX_METRIC)

    @property
    def records(self) -> tuple[TrialRecord, ...]:
        """Dense, baselines and trials."""
        return (*((self.dense,) if self.dense else ()), *self.baselines, *self.trials)

    @property
    def others(self) -> tuple[TrialRecord, ...]:
        """Measured and fine-tuned trials that are not on the front; repeated plans left out."""
        on_front = {record.name for record in self.front}
        return tuple(
            record
            for record in self.trials
            if record.name not in on_front and not is_repeat(record) and is_comparable(record)
        )

    @property
    def untrained(self) -> tuple[TrialRecord, ...]:
        """Trials scored without training and not promoted: their latency is only predicted."""
        return tuple(
            record
            for record in self.trials
            if record.state == "scored"
            and record.predicted_ms is not None
            and record.untrained_map50_95 is not None
            and not is_repeat(record)
        )

    @property
    def lengthened(self) -> tuple[TrialRecord, ...]:
        """Measured records with a score after the longer fine-tune."""
        return tuple(
            record
            for record in self.records
            if is_comparable(record) and not is_repeat(record) and record.at_rung(LONG)
        )

    @property
    def over_budget(self) -> tuple[TrialRecord, ...]:
        """Trials measured but, not being surely within the budget, never trained."""
        return tuple(
            record
            for record in self.trials
            if record.state != "failed"
            and record.latency is not None
            and record.map50_95 is None
            and not is_repeat(record)
        )

    @property
    def failed(self) -> tuple[TrialRecord, ...]:
        """Failed trials and baselines."""
        return tuple(record for record in self.records if record.state == "failed")


def load_study(folder: StudyFolder) -> Study:
    """Read a study's files.

    Raises:
        ConfigError: The folder holds no study, or a file is broken.
    """
    settings = load_settings(folder)
    outcome = folder.load_outcome()
    dense = folder.dense_record()
    baselines = tuple(folder.baseline_records())
    trials = tuple(folder.trial_records())
    goal = settings.asked.goal
    limit = goal.against(dense) if goal and dense and dense.latency else None
    fitting = [record for record in (*baselines, *trials) if _may_be_on_front(record, limit)]
    front = tuple(pareto_front(fitting))
    highlight, standing = _choose(outcome, limit, dense, (*baselines, *trials))
    return Study(
        folder=folder,
        settings=settings,
        outcome=outcome,
        dense=dense,
        baselines=baselines,
        trials=trials,
        front=front,
        highlight=highlight,
        standing=standing,
        limit=limit,
        budget_ms=_budget_ms(settings, outcome, limit),
        predictor=load_predictor(folder),
        profile=load_profile(folder),
        verdict=load_verdict(folder),
        stage_seconds=folder.stage_seconds(),
        moments=tuple(read_moments(folder.progress)),
        broken=tuple(folder.broken_records().values()),
    )


def is_comparable(record: TrialRecord) -> bool:
    """Whether the measured latency and the mAP that records are compared on are both known."""
    return record.state != "failed" and record.latency is not None and record.map50_95 is not None


def is_repeat(record: TrialRecord) -> bool:
    """Whether the trial drew a plan that an earlier one had drawn."""
    return record.same_as is not None


def points_lost(record: TrialRecord, dense: TrialRecord | None) -> float | None:
    """mAP50-95 points (of 100) below dense on val; negative when above."""
    if dense is None or dense.map50_95 is None or record.map50_95 is None:
        return None
    return 100 * (dense.map50_95 - record.map50_95)


def _may_be_on_front(record: TrialRecord, limit: Limit | None) -> bool:
    """A baseline above the budget is shown, but is not on the front."""
    if limit is None or record.latency is None:
        return True
    return limit.judge_latency(record.latency) >= Evidence.MEASURED


def _budget_ms(
    settings: StudySettings, outcome: Outcome | None, limit: Limit | None
) -> float | None:
    if outcome is not None and outcome.budget_ms is not None:
        return outcome.budget_ms
    if settings.budget_ms is not None:
        return settings.budget_ms
    if limit is not None:
        return limit.latency_ms
    goal = settings.asked.goal
    return goal.value if goal is not None and goal.kind == "budget_ms" else None


def _choose(
    outcome: Outcome | None,
    limit: Limit | None,
    dense: TrialRecord | None,
    candidates: Sequence[TrialRecord],
) -> tuple[TrialRecord | None, Standing | None]:
    """The search's own choice; without one the best that is known, or the nearest miss."""
    ended = outcome is not None and outcome.status == "finished"
    every = (*candidates, *((dense,) if dense else ()))
    name = outcome.best if outcome is not None else None
    named = next((record for record in every if record.name == name), None)
    if named is not None and outcome is not None and outcome.goal_met:
        return named, "chosen" if ended else "so far"
    if limit is None:
        return (named, "nearest") if named else (None, None)
    if (best := best_known(candidates, limit)) is not None:
        return best.record, "so far"
    nearest = named or nearest_miss(candidates, limit)
    return nearest, "nearest" if nearest else None
