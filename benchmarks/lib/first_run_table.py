"""How benchmarks/README.md shows `results/first_run.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from autoprune.domain.progress import KINDS
from benchmarks.lib.first_run import SITUATIONS, check_goals, command, gain
from benchmarks.lib.markdown_table import table


def render(content: Mapping[str, Any]) -> str:
    """The runs, the best so far over time, and which goals hold."""
    rows = sorted(
        content["rows"], key=lambda row: (list(SITUATIONS).index(row["situation"]), row["seed"])
    )
    there = {row["situation"] for row in rows}
    meant = "; ".join(f"{name}: {text}" for name, text in SITUATIONS.items() if name in there)
    asked = command("quiet", content["budget_ms"], None, content["timeout_s"])
    about = (
        f"`autoprune {' '.join(asked)}` on the demo, each run with empty"
        f" caches. {meant}. The limit counts for the whole process, from its start to its exit."
        " mAP50-95 on test images, of the weights that were kept (val: on val, where the search"
        " scored neither on test). Best so far: mAP50-95 on val and what it is known by; p:"
        " latency predicted, not trained; m: measured, not trained; f: fine-tuned; c: confirmed."
    )
    marks = [f"{float(mark):g} s" for mark in _marks(rows)]
    header = (
        "situation",
        "seed",
        "wall s / limit",
        "s before trial 0",
        "plans scored",
        "fine-tuned",
        "best.yaml: ms, mAP",
        "best uniform: ms, mAP",
        "gain, points",
        "dense: ms, mAP",
        *(f"best so far at {mark}" for mark in marks),
    )
    runs = table(header, (_cells(row, _marks(rows)) for row in rows))
    answer = {True: "yes", False: "**no**", None: "-"}
    goals = table(
        ("goal", "holds", "found"),
        ((goal.text, answer[goal.holds], goal.found) for goal in check_goals(rows)),
    )
    return f"{about}\n\n{runs}\n\n{_curve(rows)}\n\n{goals}"


def _curve(rows: Sequence[Mapping[str, Any]]) -> str:
    """mAP and hypervolume over time, each the mean over the runs that had a best so far by then."""
    lines = []
    for situation in dict.fromkeys(row["situation"] for row in rows):
        mine = [row for row in rows if row["situation"] == situation]
        lines.append((situation, *(_mean(mine, mark) for mark in _marks(rows))))
    marks = (f"{float(mark):g} s" for mark in _marks(rows))
    about = "Best so far, mean over the seeds: mAP50-95 on val / hypervolume of the front."
    return f"{about}\n\n{table(('situation', *marks), lines)}"


def _mean(rows: Sequence[Mapping[str, Any]], mark: str) -> str:
    known = [row["at"][mark] for row in rows if row["at"].get(mark) is not None]
    if not known:
        return "-"
    kinds = "".join(kind[0] for kind in KINDS if any(best["kind"] == kind for best in known))
    values = " / ".join(
        f"{fmean(best[key] for best in known):.{digits}f}"
        for key, digits in (("val", 3), ("hypervolume", 2))
    )
    some = "" if len(known) == len(rows) else f", {len(known)} of {len(rows)} runs"
    return f"{values} {kinds}{some}"


def _marks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted({mark for row in rows for mark in row["at"]}, key=float)


def _cells(row: Mapping[str, Any], marks: Sequence[str]) -> tuple[object, ...]:
    limit, before, compared = row["limit_s"], row["before_trials_s"], gain(row)
    shown = "-"
    if compared is not None:
        shown = f"{compared[0]:+.1f}{'' if compared[1] == 'test' else ' (val)'}"
    wall = f"{row['wall_s']:.0f} / {limit:.0f} = {row['wall_s'] / limit:.2f}" if limit else "-"
    ended = "" if row["exit_code"] == 0 else f" (exit {row['exit_code']})"
    return (
        row["situation"],
        row["seed"],
        wall + ended,
        "-" if before is None else f"{before:.0f}",
        row["scored"],
        row["fine_tuned"],
        _plan(row["best"]),
        _plan(row["uniform"]),
        shown,
        _plan(row["dense"]),
        *(_mark(row["at"].get(mark)) for mark in marks),
    )


def _plan(told: Mapping[str, Any] | None) -> str:
    if told is None:
        return "-"
    ms = (
        "-" if told["ms"] is None else f"{told['ms']:.2f}{'' if told['measured'] else ' predicted'}"
    )
    if told["test"] is not None:
        return f"{ms}, {told['test']:.3f}"
    untrained = "" if told["trained"] else ", untrained"
    return f"{ms}, -" if told["val"] is None else f"{ms}, {told['val']:.3f} (val{untrained})"


def _mark(best: Mapping[str, Any] | None) -> str:
    return "-" if best is None else f"{best['val']:.3f} {best['kind'][0]}"
