"""Kept channels per layer index as a plotly figure."""

from __future__ import annotations

from html import escape

import plotly.graph_objects as go

from autoprune.domain.record import TrialRecord
from autoprune.report import palette, wording
from autoprune.report.plot_frame import frame
from autoprune.report.study import Study


def kept_figure(study: Study) -> go.Figure | None:
    """Kept channels per layer index of the highlighted plan over dense; None without a plan."""
    record = study.highlight
    if record is None:
        return None
    labels, kept = _widths(record)
    figure = go.Figure()
    dense = dict(zip(*_widths(study.dense), strict=True)) if study.dense is not None else {}
    if dense:
        figure.add_trace(
            go.Bar(
                x=labels,
                y=[dense.get(label) for label in labels],
                name="dense",
                marker={"color": palette.OTHER, "opacity": 0.45},
                hoverinfo="skip",
            )
        )
    figure.add_trace(
        go.Bar(
            x=labels,
            y=kept,
            name=escape(wording.short(record.name), quote=False),
            marker={"color": palette.CHOSEN},
            width=0.5,
            hovertext=[
                f"layer {label}: {width} of {dense.get(label, '?')} channels kept"
                for label, width in zip(labels, kept, strict=True)
            ],
            hoverinfo="text",
        )
    )
    figure.update_layout(
        **frame(height=360, bottom=50),
        barmode="overlay",
        xaxis={
            "title": {"text": "layer index"},
            "type": "category",
            "dtick": 1,
            "tickfont": {"size": 11},
            "automargin": True,
        },
        yaxis={"title": {"text": "channels"}, "automargin": True},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    return figure


def _widths(record: TrialRecord) -> tuple[list[str], list[int]]:
    labels: list[str] = []
    kept: list[int] = []
    for index, widths in sorted(record.kept.items()):
        for part, width in zip(wording.BRANCHES.values(), widths, strict=False):
            labels.append(str(index) if len(widths) == 1 else f"{index} {part}")
            kept.append(width)
    return labels, kept
