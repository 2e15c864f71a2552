"""The front, and how soon it was good, as PNGs, for places where the page cannot go."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from autoprune.domain.progress import KINDS, Kind
from autoprune.domain.record import LONG, TrialRecord
from autoprune.report import palette, wording
from autoprune.report.front_plot import (
    LENGTHENED,
    OVER_BUDGET,
    UNTRAINED,
    best_at_each_latency,
)
from autoprune.report.progress import KIND_NAMES, pieces
from autoprune.report.study import Study, is_comparable

_LINES: dict[Kind, str] = {
    "predicted": ":",
    "measured": "--",
    "fine-tuned": "-",
    "confirmed": "-",
}
_BASELINE_MARKERS = ("D", "s", "^", "p")
_CORNERS: tuple[tuple[tuple[int, int], Literal["left", "right"], Literal["bottom", "top"]], ...] = (
    ((-5, 5), "right", "bottom"),
    ((5, -5), "left", "top"),
    ((5, 5), "left", "bottom"),
    ((-5, -5), "right", "top"),
)


def draw_front(study: Study) -> bytes:
    """The page's first plot, latency x mAP50-95, as PNG bytes of 1600 x 1000 px."""
    figure = _empty_figure()
    axes = figure.add_subplot()
    axes.set_xlabel("latency in ms (batch 1, forward pass)")
    _frame(axes, study, f"{study.metric} on val")
    _draw(axes, study)
    if axes.collections or axes.lines:
        _legend(figure)
    else:
        axes.text(0.5, 0.5, "nothing measured yet", ha="center", transform=axes.transAxes)
    return _saved(figure, lambda: _number_front(axes, study))


def draw_progress(study: Study) -> bytes:
    """Minutes x mAP50-95 of the best so far, as PNG bytes of 1600 x 1000 px.

    Below it the front's hypervolume, where it is known.
    """
    figure = _empty_figure()
    grown = any(moment.hypervolume for moment in study.moments)
    heights = [3, 1] if grown else [1]
    rows = figure.subplots(len(heights), sharex=True, height_ratios=heights, squeeze=False)
    axes, lowest = rows[0, 0], rows[-1, 0]
    _frame(axes, study, f"{study.metric} on val")
    found = pieces(study.moments)
    x = [piece.from_s / 60 for piece in found]
    y = [piece.moment.map50_95 for piece in found]
    axes.step(x, y, where="post", color=palette.OTHER, linewidth=0.8)
    for kind in KINDS:
        mine = [piece for piece in found if piece.moment.kind == kind]
        for place, piece in enumerate(mine):
            axes.plot(
                [piece.from_s / 60, piece.to_s / 60],
                [piece.moment.map50_95] * 2,
                _LINES[kind],
                marker="o",
                markevery=[0],
                markersize=4,
                linewidth=2,
                color=palette.EVIDENCE[kind],
                label="" if place else KIND_NAMES[kind],
            )
    if study.dense is not None and study.dense.map50_95 is not None:
        score = study.dense.map50_95
        label = f"dense {wording.score(score)}"
        axes.axhline(score, color=palette.DENSE, linestyle="--", linewidth=1, label=label)
    if grown:
        volumes = [moment.hypervolume for moment in study.moments]
        minutes = [moment.at_s / 60 for moment in study.moments]
        lowest.step(minutes, volumes, where="post", color=palette.BASELINE, linewidth=1.5)
        _frame(lowest, None, "hypervolume\nof the front")
        lowest.set_ylim(bottom=0)
    lowest.set_xlabel("minutes since the start")
    lowest.set_xlim(left=0)
    _legend(figure)
    return _saved(figure)


def _empty_figure() -> Figure:
    figure = Figure(figsize=(10, 6.25), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _frame(axes: Axes, study: Study | None, y: str) -> None:
    """Grid and names; with a study, its name above."""
    axes.set_ylabel(y)
    if study is not None:
        axes.set_title(wording.short(study.name, 80), parse_math=False)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(figure: Figure) -> None:
    legend = figure.legend(loc="outside lower center", ncols=3, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _saved(figure: Figure, finish: Callable[[], None] = lambda: None) -> bytes:
    """PNG bytes; `finish` is called when everything else has its place."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        # a study named in a script the font lacks draws boxes: not worth a warning on the screen
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        figure.draw_without_rendering()
        finish()
        figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _draw(axes: Axes, study: Study) -> None:
    if study.over_budget:
        axes.plot(
            [record.latency.median_ms for record in study.over_budget if record.latency],
            [0.02] * len(study.over_budget),
            "|",
            color=palette.OTHER,
            markersize=10,
            transform=axes.get_xaxis_transform(),
            label=OVER_BUDGET,
        )
    if study.untrained:
        axes.scatter(
            [record.predicted_ms or 0.0 for record in study.untrained],
            [record.untrained_map50_95 or 0.0 for record in study.untrained],
            s=16,
            c=palette.OTHER,
            marker="x",
            linewidths=0.8,
            alpha=0.7,
            label=UNTRAINED,
        )
    _points(axes, study, study.others, "other trials", palette.OTHER, "o")
    if steps := best_at_each_latency(study):
        latencies, scores = zip(*steps, strict=True)
        axes.step(latencies, scores, where="post", color=palette.FRONT, linewidth=0.8)
    members = [
        record for record in study.front if record.kind == "trial" and record != study.highlight
    ]
    _points(axes, study, members, "front", palette.FRONT, "o")
    for index, record in enumerate(study.baselines):
        if is_comparable(record) and record != study.highlight:
            marker = _BASELINE_MARKERS[index % len(_BASELINE_MARKERS)]
            label = f"baseline {wording.short(record.name)}"
            _points(axes, study, [record], label, palette.BASELINE, marker)
    if study.dense is not None and is_comparable(study.dense):
        _points(axes, study, [study.dense], "dense", palette.DENSE, "h")
    _lengthened(axes, study)
    if study.highlight is not None and is_comparable(study.highlight):
        label = f"{study.standing}: {wording.short(study.highlight.name)}"
        _points(axes, study, [study.highlight], label, palette.CHOSEN, "*", grow=6)
    if study.budget_ms is not None:
        label = f"budget {wording.milliseconds(study.budget_ms)}"
        axes.axvline(
            study.budget_ms, color=palette.BUDGET, linestyle="--", linewidth=1, label=label
        )


def _points(
    axes: Axes,
    study: Study,
    records: Sequence[TrialRecord],
    label: str,
    colour: str,
    marker: str,
    grow: float = 0.0,
) -> None:
    pairs = [(record, record.latency) for record in records if record.latency is not None]
    if not pairs:
        return
    x = [result.median_ms for _, result in pairs]
    y = [record.map50_95 or 0.0 for record, _ in pairs]
    spread = [
        [max(0.0, result.median_ms - result.low_ms) for _, result in pairs],
        [max(0.0, result.high_ms - result.median_ms) for _, result in pairs],
    ]
    axes.errorbar(x, y, xerr=spread, fmt="none", ecolor=colour, elinewidth=0.8, capsize=2)
    areas = [
        (0.6 * (palette.marker_diameter(record, study.dense) + grow)) ** 2 for record, _ in pairs
    ]
    axes.scatter(
        x,
        y,
        s=areas,
        c=colour,
        marker=marker,
        edgecolors="white",
        linewidths=0.6,
        label=label,
        zorder=3,
    )


def _lengthened(axes: Axes, study: Study) -> None:
    pairs = [
        (record.latency.median_ms, score.metrics.map50_95)
        for record in study.lengthened
        if record.latency is not None and (score := record.at_rung(LONG)) is not None
    ]
    if pairs:
        latencies, scores = zip(*pairs, strict=True)
        axes.scatter(
            latencies,
            scores,
            s=110,
            facecolors="none",
            edgecolors=palette.CHOSEN,
            linewidths=1,
            marker="*",
            label=LENGTHENED,
            zorder=3,
        )


def _number_front(axes: Axes, study: Study) -> None:
    """Write trial numbers beside the front's members wherever there is room."""
    members = [
        (record.number, record.latency.median_ms, record.map50_95)
        for record in sorted(study.front, key=lambda member: member != study.highlight)
        if record.number is not None and record.latency is not None and record.map50_95 is not None
    ]
    marks = [axes.transData.transform((ms, score)) for _, ms, score in members]
    taken = [Bbox.from_bounds(x - 9, y - 9, 18, 18) for x, y in marks]
    for number, ms, score in members:
        for place, side, edge in _CORNERS:
            label = axes.annotate(
                str(number),
                (ms, score),
                xytext=place,
                textcoords="offset points",
                ha=side,
                va=edge,
                fontsize=8,
                color="#444444",
            )
            box = label.get_window_extent()
            if not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            label.remove()
