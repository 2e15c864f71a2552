"""How soon a search was good: its best so far as pieces of a curve, and at a few times as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoprune.domain.progress import MARKS_S, Kind, Moment, moment_at
from autoprune.report import wording

KIND_NAMES: dict[Kind, str] = {
    "predicted": "latency predicted, not trained",
    "measured": "latency measured, not trained",
    "fine-tuned": "fine-tuned",
    "confirmed": "confirmed in fresh processes",
}
"""Legend entries that the page's plot and the PNG share."""


@dataclass(frozen=True)
class Piece:
    """A time during which the best so far stayed the same; both ends in seconds."""

    from_s: float
    to_s: float
    moment: Moment


@dataclass(frozen=True)
class MarkRow:
    """The best so far at one time, as words; "-" where there was none yet."""

    at: str
    name: str
    latency: str
    evidence: str  # of the latency
    map50_95: str
    trained: str
    scored: str
    fine_tuned: str


def pieces(moments: Sequence[Moment]) -> list[Piece]:
    """The curve, the earliest piece first; what changes at the last moment has no length."""
    found: list[Piece] = []
    for moment in moments:
        if found:
            last = found.pop()
            found.append(Piece(last.from_s, moment.at_s, last.moment))
            if _same(last.moment, moment):
                continue
        found.append(Piece(moment.at_s, moment.at_s, moment))
    return found


def mark_rows(moments: Sequence[Moment]) -> list[MarkRow]:
    """The best so far at the marks that the search reached, and at its end; empty without any."""
    if not moments:
        return []
    end_s = moments[-1].at_s
    rows = [_row(_mark(at_s), moment_at(moments, at_s)) for at_s in MARKS_S if at_s < end_s]
    return [*rows, _row(f"{wording.duration(end_s)} (end)", moments[-1])]


def evidence(moment: Moment) -> str:
    """`latency measured, fine-tuned`."""
    return f"latency {moment.evidence}, {_trained(moment)}"


def _trained(moment: Moment) -> str:
    return "fine-tuned" if moment.trained else "not trained"


def _same(first: Moment, second: Moment) -> bool:
    """Whether the best so far, and what is known about it, did not change."""
    return (first.name, first.kind, first.latency_ms, first.map50_95) == (
        second.name,
        second.kind,
        second.latency_ms,
        second.map50_95,
    )


def _mark(at_s: float) -> str:
    return f"{at_s:g} s" if at_s < 60 else f"{at_s / 60:g} min"


def _row(at: str, moment: Moment | None) -> MarkRow:
    if moment is None:
        return MarkRow(at, "nothing yet", "-", "", "-", "", "-", "-")
    return MarkRow(
        at=at,
        name=moment.name,
        latency=wording.milliseconds(moment.latency_ms),
        evidence=moment.evidence,
        map50_95=wording.score(moment.map50_95),
        trained=_trained(moment),
        scored=str(moment.scored),
        fine_tuned=str(moment.fine_tuned),
    )
