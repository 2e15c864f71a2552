"""The front as a plotly figure: every measured candidate in latency x mAP50-95."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from autoprune.domain.record import LONG, SHORT, TrialRecord
from autoprune.report import palette, wording
from autoprune.report.plot_frame import frame
from autoprune.report.study import Study, is_comparable, points_lost

UNTRAINED = "scored without training (latency predicted)"
LENGTHENED = "after the longer fine-tune"
OVER_BUDGET = "over budget, not trained"
"""Legend entries that the page's plot and the PNG share."""

_BASELINE_SYMBOLS = ("diamond", "square", "triangle-up", "pentagon")


def front_figure(study: Study) -> go.Figure | None:
    """Latency x mAP50-95: measured candidates, and, apart from them, those only scored.

    None when there is nothing to draw.
    """
    figure = go.Figure()
    if study.over_budget:
        figure.add_trace(_rug(study))
    if study.untrained:
        figure.add_trace(_untrained(study))
    if study.others:
        figure.add_trace(
            _points(study, study.others, "other trials", palette.OTHER, "circle", opacity=0.75)
        )
    if stairs := best_at_each_latency(study):
        figure.add_trace(_stairs(stairs))
    members = [
        record for record in study.front if record.kind == "trial" and record != study.highlight
    ]
    if members:
        figure.add_trace(_points(study, members, "front", palette.FRONT, "circle"))
    for index, record in enumerate(study.baselines):
        if is_comparable(record) and record != study.highlight:
            symbol = _BASELINE_SYMBOLS[index % len(_BASELINE_SYMBOLS)]
            figure.add_trace(
                _points(
                    study,
                    [record],
                    f"baseline {wording.short(record.name)}",
                    palette.BASELINE,
                    symbol,
                )
            )
    if study.dense is not None and is_comparable(study.dense):
        figure.add_trace(_points(study, [study.dense], "dense", palette.DENSE, "hexagon"))
    if study.lengthened:
        figure.add_trace(_lengthened(study))
    if study.highlight is not None and is_comparable(study.highlight):
        label = f"{study.standing}: {wording.short(study.highlight.name)}"
        figure.add_trace(_points(study, [study.highlight], label, palette.CHOSEN, "star", grow=6))
    if not figure.data:
        return None
    if study.budget_ms is not None:
        figure.add_vline(
            x=study.budget_ms,
            line={"color": palette.BUDGET, "width": 1.5, "dash": "dash"},
            annotation={
                "text": f"budget {wording.milliseconds(study.budget_ms)}",
                "font": {"color": palette.BUDGET},
                "yanchor": "bottom",
            },
            annotation_position="top",
        )
    figure.update_layout(
        **frame(height=540, bottom=150),
        xaxis={"title": {"text": "latency in ms"}, "automargin": True},
        yaxis={"title": {"text": f"{study.metric} on val"}, "automargin": True},
        yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True},
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
        hovermode="closest",
    )
    return figure


def best_at_each_latency(study: Study) -> list[tuple[float, float]]:
    """(latency in ms, mAP50-95) of the members that no faster one reaches, fastest first."""
    steps: list[tuple[float, float]] = []
    for record in study.front:
        assert record.latency is not None
        assert record.map50_95 is not None
        if not steps or record.map50_95 > steps[-1][1]:
            steps.append((record.latency.median_ms, record.map50_95))
    return steps


def _points(
    study: Study,
    records: Sequence[TrialRecord],
    label: str,
    colour: str,
    symbol: str,
    opacity: float = 1.0,
    grow: float = 0.0,
) -> go.Scatter:
    measured = [record.latency for record in records if record.latency is not None]
    return go.Scatter(
        x=[result.median_ms for result in measured],
        y=[record.map50_95 for record in records],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [max(0.0, result.high_ms - result.median_ms) for result in measured],
            "arrayminus": [max(0.0, result.median_ms - result.low_ms) for result in measured],
            "thickness": 1,
            "width": 3,
            "color": colour,
        },
        mode="markers",
        name=escape(label, quote=False),
        marker={
            "color": colour,
            "symbol": symbol,
            "size": [palette.marker_diameter(record, study.dense) + grow for record in records],
            "opacity": opacity,
            "line": {"width": 1, "color": "white"},
        },
        hovertext=[_hover(study, record) for record in records],
        hoverinfo="text",
    )


def _rug(study: Study) -> go.Scatter:
    records = study.over_budget
    return go.Scatter(
        x=[record.latency.median_ms for record in records if record.latency is not None],
        y=[0.02] * len(records),
        yaxis="y2",
        mode="markers",
        name=OVER_BUDGET,
        marker={
            "symbol": "line-ns-open",
            "size": 12,
            "color": palette.OTHER,
            "line": {"width": 1.5, "color": palette.OTHER},
        },
        hovertext=[_hover(study, record) for record in records],
        hoverinfo="text",
    )


def _untrained(study: Study) -> go.Scatter:
    """Small crosses, unlike any measured marker, and never on the front's line."""
    return go.Scatter(
        x=[record.predicted_ms for record in study.untrained],
        y=[record.untrained_map50_95 for record in study.untrained],
        mode="markers",
        name=UNTRAINED,
        opacity=0.7,
        marker={
            "symbol": "x-thin",
            "size": 7,
            "color": palette.OTHER,
            "line": {"width": 1.5, "color": palette.OTHER},
        },
        hovertext=[_hover(study, record) for record in study.untrained],
        hoverinfo="text",
    )


def _lengthened(study: Study) -> go.Scatter:
    """Where the longer fine-tune took a plan: its own marker, above or below the short one's."""
    pairs = [(r, r.latency, r.at_rung(LONG)) for r in study.lengthened]
    return go.Scatter(
        x=[latency.median_ms for _, latency, _ in pairs if latency],
        y=[score.metrics.map50_95 for _, _, score in pairs if score],
        mode="markers",
        name=LENGTHENED,
        marker={
            "symbol": "star-open",
            "size": [palette.marker_diameter(r, study.dense) + 6 for r, _, _ in pairs],
            "color": palette.CHOSEN,
            "line": {"width": 1.5, "color": palette.CHOSEN},
        },
        hovertext=[_hover(study, record) for record, _, _ in pairs],
        hoverinfo="text",
    )


def _stairs(steps: list[tuple[float, float]]) -> go.Scatter:
    return go.Scatter(
        x=[latency for latency, _ in steps],
        y=[score for _, score in steps],
        mode="lines",
        line={"shape": "hv", "width": 1, "color": palette.FRONT},
        showlegend=False,
        hoverinfo="skip",
    )


def _hover(study: Study, record: TrialRecord) -> str:
    lines = [f"<b>{escape(record.name, quote=False)}</b>"]
    if record.latency is not None:
        lines.append(wording.latency(record.latency))
        if record.kind != "dense":
            lines.append(f"{record.latency.ratio:.3f} of dense")
    elif record.predicted_ms is not None:
        lines.append(f"{wording.milliseconds(record.predicted_ms)} predicted, not measured")
    for score in record.rungs:
        named = "as given" if record.kind == "dense" else wording.RUNGS.get(score.rung, "")
        lines.append(f"{study.metric} {wording.score(score.metrics.map50_95)} {named}")
        if score.rung == LONG and score.final is None:
            lines[-1] += " (not kept)"
    lost = points_lost(record, study.dense)
    if lost is not None and record.kind != "dense":
        lines.append(f"{wording.points(lost)}, after the {wording.RUNGS[SHORT]}")
    if record.size is not None:
        lines.append(f"{wording.count(record.size.params)} parameters")
        lines.append(f"{wording.count(record.size.macs)} MACs")
    return "<br>".join(lines)
