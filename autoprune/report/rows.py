"""The page's table rows: a record's numbers as the words that are shown."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from autoprune.domain.record import LONG, SHORT, UNTRAINED, DetectionMetrics, RungScore, TrialRecord
from autoprune.report import wording
from autoprune.report.study import Study, is_comparable, is_repeat

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
    predicted: str
    confirmed: str
    confirmed_interval: str
    map50: str  # of the score that records are compared on
    given: str  # the dense model's mAP50-95; dense stands outside the rungs
    rungs: dict[int, str]  # rung -> mAP50-95 on val, never two rungs in one column
    epochs: dict[int, str]  # rung -> `3 epochs`, or "" without any
    finals: dict[int, str]  # rung -> mAP50-95 on unused images, of that rung's weights
    kept: int | None  # the rung whose weights were kept
    state: str


def on_front(study: Study) -> list[TrialRecord]:
    """Dense, the baselines, the front and the highlighted record, slowest first."""
    shown: dict[str, TrialRecord] = {
        record.name: record
        for record in (*study.records, study.highlight)
        if record is not None
        and (record in study.front or record == study.highlight or record.kind != "trial")
        and record.state != "failed"
    }
    return sorted(shown.values(), key=_slowest_first)


def rows(study: Study, records: Iterable[TrialRecord]) -> list[Row]:
    """Rows in the order given."""
    return [_row(study, record) for record in records]


def rungs_reached(records: Iterable[TrialRecord]) -> list[int]:
    """Every rung that some trial or baseline among the records reached, ascending."""
    return sorted({score.rung for r in records if r.kind != "dense" for score in r.rungs})


def failures(study: Study) -> list[tuple[str, list[TrialRecord]]]:
    """Failed records by reason, the most frequent reason first."""
    groups: dict[str, list[TrialRecord]] = {}
    for record in study.failed:
        reason = record.failure.reason if record.failure else "unknown"
        groups.setdefault(reason, []).append(record)
    return sorted(groups.items(), key=lambda group: -len(group[1]))


def _row(study: Study, record: TrialRecord) -> Row:
    result, size = record.latency, record.size
    top, kept, longer = record.compared, record.kept_score, record.at_rung(LONG)
    scores = record.rungs if record.kind != "dense" else ()
    predicted_ms = record.predicted_ms
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
        predicted=wording.milliseconds(predicted_ms) if predicted_ms is not None else EMPTY,
        confirmed=wording.milliseconds(record.confirmed.median_ms) if record.confirmed else EMPTY,
        confirmed_interval=wording.interval(record.confirmed) if record.confirmed else "",
        map50=_score(top.metrics if top else None, "map50"),
        given=_score(top.metrics if top else None, "map50_95") if record.kind == "dense" else "",
        rungs={score.rung: wording.score(score.metrics.map50_95) for score in scores},
        epochs={score.rung: _epochs(score) for score in scores},
        finals={
            SHORT: _score(record.final, "map50_95"),
            LONG: _score(longer.final if longer else None, "map50_95"),
        },
        kept=kept.rung if kept is not None and record.kind != "dense" else None,
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


def _epochs(score: RungScore) -> str:
    if score.rung == UNTRAINED:
        return ""
    count = wording.plural(score.epochs, "epoch")
    return f"+ {count}" if score.rung == LONG else count


def _state(record: TrialRecord) -> str:
    if is_repeat(record):
        return f"same plan as {record.same_as}"
    origin = f", in {record.taken_from}" if record.taken_from else ""
    return wording.state(record) + origin


def _slowest_first(record: TrialRecord) -> tuple[bool, float]:
    slowness = record.latency.median_ms if record.latency else 0.0
    return not is_comparable(record), -slowness
