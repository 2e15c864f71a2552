"""The replay as a picture: hypervolume over the number of short fine-tunes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from provenance import RESULTS

DOCS = Path(__file__).resolve().parent.parent / "docs"
COLOURS = {"random": "#9aa3ad", "tpe": "#1f77b4", "nsga2": "#1b9e77"}
OURS = "#d9541e"


def draw_all() -> None:
    """One picture for each data set that was replayed."""
    for path in sorted(RESULTS.glob("search_quality_replay_*.json")):
        content = json.loads(path.read_text())
        draw(content, DOCS / f"search-quality-{content['set']}.png")


def draw(content: dict[str, Any], path: Path) -> None:
    """Mean curves and 10-90 % bands of the rivals, and ours."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
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
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
