"""The first run: a finished study folder as a row, and the goals that the rows meet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from autoprune.domain.goal import Evidence, Limit
from autoprune.domain.progress import MARKS_S, moment_at
from autoprune.domain.record import SHORT, TrialRecord
from autoprune.errors import ConfigError
from autoprune.report.study import Study, load_study
from autoprune.storage.study_folder import StudyFolder

SITUATIONS = {
    "quiet": "nothing else runs",
    "one-core": "the search and all it starts on one core",
    "busy": "beside one process that computes all the time",
    "half-speed": "stopped and continued every 50 ms",
    "speedup2": "`--speedup 2` instead of the latency budget; nothing else runs",
}

LATE = 1.05  # times the limit
GAIN_POINTS = 3.0  # mAP50-95, of 100
GAIN_IN = ("quiet", "one-core", "busy", "speedup2")
LEAST_SCORED = {"quiet": 30, "one-core": 12, "half-speed": 12}


def command(
    situation: str, budget_ms: float, seed: int | None, timeout_s: float | None
) -> list[str]:
    """The arguments of autoprune, without the studies folder; None leaves an option out."""
    goal = ["--speedup", "2"] if situation == "speedup2" else ["--budget-ms", f"{budget_ms:g}"]
    limit = [] if timeout_s is None else ["--timeout", f"{timeout_s:g}"]
    seeded = [] if seed is None else ["--seed", str(seed)]
    return ["search", *goal, *seeded, *limit]


def read_run(studies: Path, began: datetime) -> dict[str, Any]:
    """What one search left in its studies folder, as plain data.

    Args:
        studies: Folder with one study or, where the search ended before it made one, none.
        began: When its process began.

    Returns:
        Times in s, latencies in ms, mAP50-95 in [0, 1]; None for what there is not.
    """
    folder = next((path.parent for path in studies.glob("*/study.yaml")), None)
    if folder is None:
        return {**_NOTHING, "stopped_by": "no study was made"}
    try:
        study = load_study(StudyFolder(folder))
    except ConfigError as error:
        return {**_NOTHING, "stopped_by": f"unreadable: {error}".replace(str(folder), folder.name)}
    own = [record for record in study.trials if not record.same_as and not record.taken_from]
    end = study.outcome.stopped_by or study.outcome.message if study.outcome else "unknown"
    return {
        "limit_s": study.settings.asked.timeout_s,
        "before_trials_s": _seconds_before(own, began),
        "scored": sum(record.untrained_map50_95 is not None for record in own),
        "fine_tuned": sum(record.at_rung(SHORT) is not None for record in own),
        "budget_ms": study.budget_ms,
        "dense": _told(study.dense),
        "best": _told(_best(study)),
        "uniform": _told(_uniform(study.baselines, study.limit)),
        "at": {f"{mark:g}": _so_far(study, mark) for mark in MARKS_S},
        "stopped_by": end,
    }


_NOTHING: dict[str, Any] = {
    "limit_s": None,
    "before_trials_s": None,
    "scored": 0,
    "fine_tuned": 0,
    "budget_ms": None,
    "dense": None,
    "best": None,
    "uniform": None,
    "at": {f"{mark:g}": None for mark in MARKS_S},
}


def _seconds_before(trials: Iterable[TrialRecord], began: datetime) -> float | None:
    """Records note whole seconds, so it is up to one less."""
    starts = [(datetime.fromisoformat(trial.started) - began).total_seconds() for trial in trials]
    return round(max(0.0, min(starts)), 1) if starts else None


def _best(study: Study) -> TrialRecord | None:
    """The record that best.yaml is of; None without one."""
    if study.outcome is None or not study.folder.best_plan.exists():
        return None
    return next((each for each in study.records if each.name == study.outcome.best), None)


def _uniform(baselines: Iterable[TrialRecord], limit: Limit | None) -> TrialRecord | None:
    """The baseline within the budget, by its measured median, that is the best on val."""
    within = [
        record
        for record in baselines
        if limit is not None
        and record.map50_95 is not None
        and limit.judge(record) >= Evidence.MEASURED
    ]
    return max(within, key=lambda record: record.map50_95 or 0.0, default=None)


def _told(record: TrialRecord | None) -> dict[str, Any] | None:
    """A record's latency, and its mAP50-95 by the weights that were kept.

    One that was never fine-tuned has the score without training on val, and none on test.
    """
    if record is None:
        return None
    latency, kept = record.confirmed or record.latency, record.kept_score
    final = record.final
    if kept is not None and kept.final is not None:
        final = kept.final
    return {
        "name": record.name,
        "ms": latency.median_ms if latency else record.predicted_ms,
        "ratio": latency.ratio if latency else None,
        "measured": latency is not None,
        "trained": kept is not None,
        "val": kept.metrics.map50_95 if kept else record.untrained_map50_95,
        "test": final.map50_95 if final else None,
    }


def _so_far(study: Study, seconds: float) -> dict[str, Any] | None:
    best = moment_at(study.moments, seconds)
    if best is None:
        return None
    return {"val": best.map50_95, "kind": best.kind, "hypervolume": best.hypervolume}


def gain(row: Mapping[str, Any]) -> tuple[float, str] | None:
    """Points of mAP50-95 that best.yaml is above the best uniform plan, and on which images.

    On test images, or on val where one of the two was not scored on test. None where there is
    nothing to compare.
    """
    best, uniform = row["best"], row["uniform"]
    if best is None or uniform is None:
        return None
    for split in ("test", "val"):
        if best[split] is not None and uniform[split] is not None:
            return 100 * (best[split] - uniform[split]), split
    return None


@dataclass(frozen=True)
class GoalCheck:
    """One goal: whether the runs so far meet it (None: there is no run to tell), and the proof."""

    text: str
    holds: bool | None
    found: str


def check_goals(rows: Sequence[Mapping[str, Any]]) -> list[GoalCheck]:
    """Every goal against the runs that there are."""
    return [
        _limit_kept(rows),
        _never_below(rows),
        _mean_gain([row for row in rows if row["situation"] in GAIN_IN]),
        *(
            _scored([row for row in rows if row["situation"] == situation], situation, least)
            for situation, least in LEAST_SCORED.items()
        ),
    ]


def _limit_kept(rows: Sequence[Mapping[str, Any]]) -> GoalCheck:
    text = f"the limit kept within {LATE - 1:.0%} in every run"
    late = [row for row in rows if not row["limit_s"] or row["wall_s"] > LATE * row["limit_s"]]
    known = [row["wall_s"] / row["limit_s"] for row in rows if row["limit_s"]]
    most = f"at most {max(known):.2f} of it" if known else "no limit known"
    return _every(text, rows, late, most)


def _never_below(rows: Sequence[Mapping[str, Any]]) -> GoalCheck:
    text = "best.yaml not below the best uniform plan within the budget in any run"
    below = [row for row in rows if row["best"] is None or (_points(row) or 0.0) < 0.0]
    gains = [points for row in rows if (points := _points(row)) is not None]
    least = f"least gain {min(gains):+.1f} points" if gains else "no uniform plan to compare with"
    return _every(text, rows, below, least)


def _mean_gain(rows: Sequence[Mapping[str, Any]]) -> GoalCheck:
    text = f"above it by {GAIN_POINTS:g} points or more in the mean of {', '.join(GAIN_IN)}"
    gains = [points for row in rows if (points := _points(row)) is not None]
    missing = [row for row in rows if row["best"] is None]
    if not gains:
        return GoalCheck(text, False if missing else None, "nothing to compare")
    there = {row["situation"] for row in rows}
    holds = fmean(gains) >= GAIN_POINTS and not missing
    found = f"{fmean(gains):+.1f} points over {len(gains)} of {len(rows)} runs"
    absent = [situation for situation in GAIN_IN if situation not in there]
    return GoalCheck(text, holds, found + (f"; not run: {', '.join(absent)}" if absent else ""))


def _scored(rows: Sequence[Mapping[str, Any]], situation: str, least: int) -> GoalCheck:
    few = [row for row in rows if row["scored"] < least]
    fewest = f"fewest {min(row['scored'] for row in rows)}" if rows else ""
    return _every(f"{least} plans scored or more, {situation}", rows, few, fewest)


def _every(
    text: str,
    rows: Sequence[Mapping[str, Any]],
    failing: Sequence[Mapping[str, Any]],
    found: str,
) -> GoalCheck:
    if not rows:
        return GoalCheck(text, None, "not run")
    names = ", ".join(f"{row['situation']} {row['seed']}" for row in failing)
    return GoalCheck(text, not failing, found + (f"; missed: {names}" if names else ""))


def _points(row: Mapping[str, Any]) -> float | None:
    compared = gain(row)
    return compared[0] if compared else None
