"""The page's table rows: a record's numbers as the words that are shown."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from autoprune.record import DetectionMetrics, RungScore, TrialRecord
from autoprune.report import wording
from autoprune.report.study import Study, is_repeat, is_scored

EMPTY = "-"


@dataclass(frozen=True)
class Row:
    """One candidate as text; EMPTY where nothing was measured."""

    name: str
    badge: str  # "dense", "baseline", what the highlighted record is, both, or ""
    highlighted: bool
    link: str  # plan.yaml relative to the report folder, URL-quoted; "" when there is none
    params: str
    macs: str
    latency: str
    interval: str
    ratio: str
    confirmed: str
    confirmed_interval: str
    map50: str
    map50_95: str
    final: str
    trained: str
    rungs: dict[int, str]  # rung -> score, for the table that keeps rungs apart
    state: str


def front_rows(study: Study) -> list[Row]:
    """Dense, the baselines, the front and the highlighted record, slowest first."""
    shown: dict[str, TrialRecord] = {
        record.name: record
        for record in (*study.records, study.highlight)
        if record is not None
        and (record in study.front or record == study.highlight or record.kind != "trial")
        and record.state != "failed"
    }
    return rows(study, sorted(shown.values(), key=_slowest_first))


def rows(study: Study, records: Iterable[TrialRecord]) -> list[Row]:
    """Rows in the order given."""
    return [_row(study, record) for record in records]


def rungs_reached(study: Study) -> list[int]:
    """Every rung that some trial or baseline reached, ascending."""
    return sorted({score.rung for record in study.records for score in record.rungs})


def failures(study: Study) -> list[tuple[str, list[TrialRecord]]]:
    """Failed records by reason, the most frequent reason first."""
    groups: dict[str, list[TrialRecord]] = {}
    for record in study.failed:
        reason = record.failure.reason if record.failure else "unknown"
        groups.setdefault(reason, []).append(record)
    return sorted(groups.items(), key=lambda group: -len(group[1]))


def _row(study: Study, record: TrialRecord) -> Row:
    result, size = record.latency, record.size
    top = record.compared
    return Row(
        name=record.name,
        badge=_badge(study, record),
        highlighted=record == study.highlight,
        link=_plan_link(study, record),
        params=wording.count(size.params) if size else EMPTY,
        macs=wording.count(size.macs) if size else EMPTY,
        latency=wording.milliseconds(result.median_ms) if result else EMPTY,
        interval=wording.interval(result) if result else "",
        ratio=f"{result.ratio:.3f}" if result else EMPTY,
        confirmed=wording.milliseconds(record.confirmed.median_ms) if record.confirmed else EMPTY,
        confirmed_interval=wording.interval(record.confirmed) if record.confirmed else "",
        map50=_score(top.metrics if top else None, "map50"),
        map50_95=_score(top.metrics if top else None, "map50_95"),
        final=_score(record.final, "map50_95"),
        trained=_trained(top),
        rungs={
            score.rung: f"{wording.score(score.metrics.map50_95)} ({_epochs(score)})"
            for score in record.rungs
        },
        state=_state(record),
    )


def _badge(study: Study, record: TrialRecord) -> str:
    kind = "" if record.kind == "trial" else record.kind
    standing = study.standing if record == study.highlight else None
    return ", ".join(word for word in (kind, standing) if word)


def _plan_link(study: Study, record: TrialRecord) -> str:
    plan = study.folder.folder_of(record) / "plan.yaml"
    if not plan.exists():
        return ""
    relative = os.path.relpath(plan, study.folder.report).replace(os.sep, "/")
    return quote(relative)


def _score(metrics: DetectionMetrics | None, name: str) -> str:
    value: Any = getattr(metrics, name) if metrics else None
    return EMPTY if value is None else wording.score(value)


def _trained(score: RungScore | None) -> str:
    if score is None:
        return "not trained"
    return f"rung {score.rung}, {_epochs(score)}" if score.epochs else _epochs(score)


def _epochs(score: RungScore) -> str:
    return wording.plural(score.epochs, "epoch") if score.epochs else "as given"


def _state(record: TrialRecord) -> str:
    if is_repeat(record):
        return f"same plan as {record.same_as}"
    return wording.STATES[record.state]


def _slowest_first(record: TrialRecord) -> tuple[bool, float]:
    slowness = record.latency.median_ms if record.latency else 0.0
    return not is_scored(record), -slowness
