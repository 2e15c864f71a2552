"""The sensitivity profile as a plotly figure: what each kept width costs, layer by layer."""

from __future__ import annotations

import math
import re
from html import escape
from itertools import pairwise

import plotly.graph_objects as go

from autoprune.domain.record import TrialRecord
from autoprune.domain.space import BRANCHES
from autoprune.report import palette, wording
from autoprune.report.plot_frame import frame
from autoprune.report.study import Study

DECADES = 4
"""Costs this many powers of ten below the largest look like none."""

_PARAMETER = re.compile(rf"keep_(\d+)(?:_({'|'.join(BRANCHES)}))?")
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_COLOURS = [(0.0, "#f3ecd2"), (0.35, "#f2b860"), (0.7, "#d9541e"), (1.0, "#6d1313")]


def profile_figure(study: Study) -> go.Figure | None:
    """Rows are parameters, bars their kept shares, colour is cost; None without a profile."""
    if study.profile is None:
        return None
    table = {
        name: choices for name, choices in study.profile.as_table().items() if len(choices) > 1
    }
    dearest = max((cost for choices in table.values() for _, cost in choices), default=0.0)
    if dearest <= 0:
        return None
    # a space need not offer the dense width
    known = {name: _kept(study.dense, name) if study.dense else None for name in table}
    dense = {name: known[name] or row[-1][0] for name, row in table.items()}
    rows, lengths, starts, colours, hovers = [], [], [], [], []
    top = math.ceil(math.log10(dearest))
    for name, choices in table.items():
        full = dense[name]
        for (kept, cost), (start, end) in zip(choices, _spans(choices, full), strict=True):
            rows.append(_label(name))
            lengths.append(end - start)
            starts.append(start)
            colours.append(max(top - DECADES, math.log10(cost)) if cost > 0 else top - DECADES)
            hovers.append(
                f"layer {_label(name)}: {kept} of {full} kept ({100 * kept / full:.0f} %)"
                f"<br>estimated cost {cost:.2g}"
            )
    ticks = [top - DECADES + step for step in range(DECADES + 1)]
    figure = go.Figure(
        go.Bar(
            x=lengths,
            y=rows,
            base=starts,
            orientation="h",
            name="cost",
            showlegend=False,
            marker={
                "color": colours,
                "colorscale": _COLOURS,
                "cmin": ticks[0],
                "cmax": ticks[-1],
                "line": {"width": 1, "color": "white"},
                "colorbar": {
                    "orientation": "h",
                    "thickness": 12,
                    "y": 1.0,
                    "yanchor": "bottom",
                    "tickvals": ticks,
                    "ticktext": [f"≤ {_power(ticks[0])}", *map(_power, ticks[1:])],
                },
            },
            hovertext=hovers,
            hoverinfo="text",
        )
    )
    if study.highlight is not None and study.highlight.kind != "dense":
        _mark(figure, study.highlight, dense)
    labels = [_label(name) for name in table]
    figure.update_layout(
        **frame(height=150 + 22 * len(labels), bottom=70),
        bargap=0.12,
        xaxis={
            "title": {"text": "share of channels kept"},
            "range": [0, 1.02],
            "tickformat": ".0%",
            "automargin": True,
        },
        yaxis={
            "title": {"text": "layer index"},
            "type": "category",
            "categoryorder": "array",
            "categoryarray": labels[::-1],
            "dtick": 1,
            "automargin": True,
        },
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
        hovermode="closest",
    )
    return figure


def _power(exponent: int) -> str:
    """A power of ten, short enough for a phone: `10⁻³`."""
    return "10" + str(exponent).translate(_RAISED)


def _spans(choices: tuple[tuple[int, float], ...], full: int) -> list[tuple[float, float]]:
    """From where to where on the share axis each choice is the nearest one on offer."""
    shares = [kept / full for kept, _ in choices]
    middles = [(low + high) / 2 for low, high in pairwise(shares)]
    first = max(0.0, 2 * shares[0] - middles[0])
    return list(pairwise([first, *middles, 1.0]))


def _mark(figure: go.Figure, record: TrialRecord, full: dict[str, int]) -> None:
    """Dots at the shares that the highlighted plan keeps."""
    points = [
        (kept / full[name], _label(name))
        for name in full
        if (kept := _kept(record, name)) is not None
    ]
    if not points:
        return
    figure.add_trace(
        go.Scatter(
            x=[share for share, _ in points],
            y=[label for _, label in points],
            mode="markers",
            name=f"kept by {escape(wording.short(record.name), quote=False)}",
            marker={
                "color": palette.FRONT,
                "size": 10,
                "line": {"width": 2, "color": "white"},
            },
            hoverinfo="skip",
            cliponaxis=False,
        )
    )


def _kept(record: TrialRecord, name: str) -> int | None:
    match = _PARAMETER.fullmatch(name)
    widths = record.kept.get(int(match[1]), ()) if match else ()
    if match is None or not widths:
        return None
    position = BRANCHES.index(match[2]) if match[2] else 0
    return widths[min(position, len(widths) - 1)]


def _label(name: str) -> str:
    match = _PARAMETER.fullmatch(name)
    if match is None:
        return escape(wording.short(name), quote=False)
    branch = "" if match[2] is None else f" {wording.BRANCHES[match[2]]}"
    return f"{match[1]}{branch}"
