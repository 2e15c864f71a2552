"""The shortcuts as plotly figures: what was guessed against what was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import plotly.graph_objects as go

from autoprune.domain.record import TrialRecord
from autoprune.report import palette, wording
from autoprune.report.plot_frame import frame
from autoprune.report.shortcuts import predicted_and_measured, untrained_and_trained
from autoprune.report.study import Study


def latency_figure(study: Study) -> go.Figure | None:
    """Predicted against measured latency; None without a pair."""
    return _against(
        predicted_and_measured(study),
        measured=lambda record: record.latency.median_ms if record.latency else None,
        guessed=lambda record: record.predicted_ms,
        axes=("measured, ms", "predicted, ms"),
        hover=lambda guessed, measured: (
            f"{wording.milliseconds(guessed)} predicted, {wording.milliseconds(measured)} measured"
        ),
    )


def training_figure(study: Study) -> go.Figure | None:
    """mAP50-95 without training against that after the short fine-tune; None without a pair."""
    return _against(
        untrained_and_trained(study),
        measured=lambda record: record.fine_tuned_map50_95,
        guessed=lambda record: record.untrained_map50_95,
        axes=("after the short fine-tune", "without training"),
        hover=lambda guessed, measured: (
            f"{study.metric} {wording.score(guessed)} without training,"
            f" {wording.score(measured)} after the short fine-tune"
        ),
    )


def _against(
    records: Sequence[TrialRecord],
    measured: Callable[[TrialRecord], float | None],
    guessed: Callable[[TrialRecord], float | None],
    axes: tuple[str, str],
    hover: Callable[[float, float], str],
) -> go.Figure | None:
    points = [
        (record, found, guess)
        for record in records
        if (found := measured(record)) is not None and (guess := guessed(record)) is not None
    ]
    if not points:
        return None
    values = [value for _, found, guess in points for value in (found, guess)]
    margin = 0.06 * (max(values) - min(values)) or 0.05 * max(values)
    ends = [min(values) - margin, max(values) + margin]
    figure = go.Figure(
        go.Scatter(
            x=ends,
            y=ends,
            mode="lines",
            name="equal",
            line={"width": 1, "dash": "dot", "color": palette.OTHER},
            hoverinfo="skip",
        )
    )
    for kind, name, colour, symbol in (
        ("baseline", "baselines", palette.BASELINE, "diamond"),
        ("trial", "trials", palette.FRONT, "circle"),
    ):
        mine = [point for point in points if point[0].kind == kind]
        if mine:
            figure.add_trace(
                go.Scatter(
                    x=[found for _, found, _ in mine],
                    y=[guess for _, _, guess in mine],
                    mode="markers",
                    name=name,
                    marker={
                        "color": colour,
                        "symbol": symbol,
                        "size": 10,
                        "line": {"width": 1, "color": "white"},
                    },
                    hovertext=[
                        f"<b>{escape(record.name, quote=False)}</b><br>{hover(guess, found)}"
                        for record, found, guess in mine
                    ],
                    hoverinfo="text",
                )
            )
    figure.update_layout(
        **frame(height=340, bottom=50),
        xaxis={"title": {"text": axes[0]}, "range": ends, "automargin": True},
        yaxis={"title": {"text": axes[1]}, "range": ends, "automargin": True},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hovermode="closest",
    )
    return figure
