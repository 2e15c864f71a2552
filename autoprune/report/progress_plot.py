"""How soon a search was good as a plotly figure: mAP of the best so far, and the front's growth."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from autoprune.domain.progress import KINDS, Kind, Moment
from autoprune.report import palette, wording
from autoprune.report.plot_frame import frame
from autoprune.report.progress import KIND_NAMES, Piece, evidence, pieces
from autoprune.report.study import Study

_DASHES: dict[Kind, str] = {
    "predicted": "dot",
    "measured": "dash",
    "fine-tuned": "solid",
    "confirmed": "solid",
}


def progress_figure(study: Study) -> go.Figure | None:
    """Minutes x mAP50-95 of the best so far, one line style per kind of evidence.

    Below it the front's hypervolume, where it is known. None where the search noted no moments.
    """
    found = pieces(study.moments)
    if not found:
        return None
    grown = any(moment.hypervolume for moment in study.moments)
    figure = go.Figure()
    if len(found) > 1:
        figure.add_trace(_changes(found))
    for kind in KINDS:
        mine = [piece for piece in found if piece.moment.kind == kind]
        if mine:
            figure.add_trace(_line(kind, mine, study.metric))
    if grown:
        figure.add_trace(_hypervolume(study.moments))
    if study.dense is not None and study.dense.map50_95 is not None:
        figure.add_hline(
            y=study.dense.map50_95,
            line={"color": palette.DENSE, "width": 1.5, "dash": "dash"},
            annotation={
                "text": f"dense {wording.score(study.dense.map50_95)}",
                "font": {"color": palette.DENSE},
                "yanchor": "bottom",
            },
            annotation_position="top left",
        )
    figure.update_layout(
        **frame(height=460 if grown else 380, bottom=130),
        xaxis={
            "title": {"text": "minutes since the start"},
            "rangemode": "tozero",
            "anchor": "y2" if grown else "y",
            "automargin": True,
        },
        yaxis={
            "title": {"text": f"{study.metric} on val"},
            "domain": [0.38, 1] if grown else [0, 1],
            "automargin": True,
        },
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
        hovermode="closest",
    )
    if grown:
        figure.update_layout(
            yaxis2={
                "title": {"text": "front", "standoff": 8},
                "domain": [0, 0.28],
                "rangemode": "tozero",
                "nticks": 4,
                "automargin": True,
            }
        )
    return figure


def _line(kind: Kind, mine: Sequence[Piece], metric: str) -> go.Scatter:
    """Level pieces of one kind with gaps between them; a marker where each begins."""
    x: list[float | None] = []
    y: list[float | None] = []
    texts: list[str] = []
    sizes: list[int] = []
    for piece in mine:
        x += [piece.from_s / 60, piece.to_s / 60, None]
        y += [piece.moment.map50_95, piece.moment.map50_95, None]
        texts += [_hover(piece.moment, metric)] * 2 + [""]
        sizes += [8, 0, 0]
    return go.Scatter(
        x=x,
        y=y,
        mode="lines+markers",
        name=KIND_NAMES[kind],
        line={"color": palette.EVIDENCE[kind], "width": 2.5, "dash": _DASHES[kind]},
        marker={"size": sizes, "opacity": 1, "line": {"width": 0}},
        hovertext=texts,
        hoverinfo="text",
    )


def _changes(found: Sequence[Piece]) -> go.Scatter:
    """The thin line that joins the pieces: a step at each change."""
    return go.Scatter(
        x=[piece.from_s / 60 for piece in found],
        y=[piece.moment.map50_95 for piece in found],
        mode="lines",
        line={"shape": "hv", "width": 1, "color": palette.OTHER},
        showlegend=False,
        hoverinfo="skip",
    )


def _hypervolume(moments: Sequence[Moment]) -> go.Scatter:
    return go.Scatter(
        x=[moment.at_s / 60 for moment in moments],
        y=[moment.hypervolume for moment in moments],
        yaxis="y2",
        mode="lines",
        name="hypervolume of the front",
        line={"shape": "hv", "width": 2, "color": palette.BASELINE},
        hovertext=[f"hypervolume {moment.hypervolume:.3f}" for moment in moments],
        hoverinfo="text",
    )


def _hover(moment: Moment, metric: str) -> str:
    lines = (
        f"<b>{escape(moment.name, quote=False)}</b> after {wording.duration(moment.at_s)}",
        f"{metric} {wording.score(moment.map50_95)}, {wording.milliseconds(moment.latency_ms)}",
        evidence(moment),
        f"{wording.plural(moment.scored, 'plan')} scored, {moment.fine_tuned} fine-tuned by then",
    )
    return "<br>".join(lines)
