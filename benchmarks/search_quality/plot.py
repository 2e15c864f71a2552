"""Pictures: hypervolume over short fine-tunes, and scores without training beside those after."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.lib.provenance import RESULTS
from benchmarks.search_quality.pool import usable

DOCS = Path(__file__).resolve().parents[2] / "docs"
COLOURS = {"random": "#9aa3ad", "tpe": "#1f77b4", "nsga2": "#1b9e77"}
OURS = "#d9541e"
ORIGINS = {"solver": OURS, "disturbed": "#e3a06f", "uniform": "#1b9e77", "random": "#9aa3ad"}


def draw_all() -> None:
    """The pictures of every data set that has a pool, or was replayed."""
    for path in sorted(RESULTS.glob("search_quality_replay_*.json")):
        content = json.loads(path.read_text())
        draw_replay(content, DOCS / f"search-quality-{content['set']}.png")
    for path in sorted(RESULTS.glob("search_quality_pool_*.json")):
        content = json.loads(path.read_text())
        draw_scores(content, DOCS / f"untrained-score-{content['set']}.png")


def draw_scores(content: dict[str, Any], path: Path) -> None:
    """mAP50-95 on val right after pruning against that after the short fine-tune."""
    figure, axes = _figure(5.6, 4.4)
    rows = usable(content)
    for origin, colour in ORIGINS.items():
        part = [row for row in rows if row["origin"] == origin]
        before, after = ([row[key] or 0.0 for row in part] for key in ("untrained", "val"))
        axes.scatter(before, after, s=16, color=colour, label=f"{origin}, {len(part)} plans")
    top = content["dense"]["val"]
    axes.plot([0, top], [0, top], color="black", lw=0.8, ls=":", label="equal")
    axes.plot([top], [top], "D", color="black", ms=5, label="dense")
    axes.set_xlabel("mAP50-95 on val, without training")
    axes.set_ylabel("after the short fine-tune")
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    figure.savefig(path)


def draw_replay(content: dict[str, Any], path: Path) -> None:
    """Mean curves and 10-90 % bands of the rivals, and ours."""
    figure, axes = _figure(7.5, 4.2)
    steps = range(1, content["steps"] + 1)
    for method in content["methods"]:
        name = method["method"]
        if name.startswith("nsga2") and name != content["tuned_nsga2"]:
            continue
        colour = COLOURS[name.split("-")[0]]
        axes.plot(steps, method["mean"], color=colour, label=f"{name}, {method['seeds']} seeds")
        axes.fill_between(steps, method["p10"], method["p90"], color=colour, alpha=0.15, lw=0)
    axes.plot(steps, content["ours"]["curve"], color=OURS, lw=2, label="ours")
    axes.axhline(content["whole_pool"], color="black", lw=0.8, ls=":", label="the whole pool")
    uniform = content["uniform"]
    shown = f"all {uniform['plans']} uniform plans"
    axes.axhline(uniform["hypervolume"], color="black", lw=0.8, ls="--", label=shown)
    axes.axvline(content["ours"]["steps"], color=OURS, lw=0.8, ls=":")
    axes.set_xlabel("short fine-tunes")
    axes.set_ylabel("hypervolume")
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    figure.savefig(path)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    """A figure with one pair of axes, in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
