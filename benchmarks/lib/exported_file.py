"""How benchmarks/README.md shows `results/exported_file.json`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.lib.markdown_table import table

BASE = "without rewrites"
NAMED = ("yolov8n", 640)  # whose goals were set
SHOWN = ("as exported", "ultralytics", "ultralytics, simplified")


def render(content: dict[str, Any]) -> str:
    """One row per model, size and share of channels removed."""
    names = [name for name in SHOWN if any(name in row["files"] for row in content["rows"])]
    compared = [(row, _over_theirs(row)) for row in content["rows"]]
    rows = [
        (
            row["model"],
            f"{row['imgsz']} px",
            f"{row['ratio']:.0%}",
            row["threads"],
            f"{row['files'][BASE]['ms']:.2f}",
            *(_ratio(row["files"].get(name)) for name in names),
            "-" if ratio is None else f"{ratio:.2f}",
        )
        for row, ratio in compared
    ]
    titles = ("model", "size", "channels removed", "threads", f"{BASE}, ms")
    about = (
        f"Time over that of our export without its rewrites, {content['runtime']}, all files of a"
        " row interleaved in one process; in brackets the 95 % interval. Same numbers in every"
        " file. Older tables on this page time files without the rewrites."
    )
    goals = list(_goals([(row, ratio) for row, ratio in compared if ratio is not None]))
    parts = [about, table((*titles, *names, "ours over theirs"), rows)]
    parts += [table(("goal, ours over theirs", "holds", "found"), goals)] if goals else []
    return "\n\n".join(parts)


def _over_theirs(row: dict[str, Any]) -> float | None:
    """Time of our file over that of Ultralytics' simplified one; None where there is none."""
    ours, theirs = (row["files"].get(name) for name in (SHOWN[0], SHOWN[-1]))
    return None if ours is None or theirs is None else float(ours["ratio"] / theirs["ratio"])


def _goals(compared: list[tuple[dict[str, Any], float]]) -> Iterator[tuple[str, str, str]]:
    for about, most, chosen in (
        ("yolov8n at 640 px", 0.82, lambda row: not row["ratio"]),
        ("yolov8n at 640 px, half of its channels removed", 0.72, lambda row: row["ratio"] == 0.5),
    ):
        named = [(row, ratio) for row, ratio in compared if (row["model"], row["imgsz"]) == NAMED]
        found = {row["threads"]: ratio for row, ratio in named if chosen(row)}
        if found:
            told = ", ".join(
                f"{ratio:.2f} ({n} thread{'s'[: n > 1]})" for n, ratio in found.items()
            )
            yield f"{about}: at most {most}", _yes(max(found.values()) <= most), told
    worst = max((ratio for _, ratio in compared), default=None)
    if worst is not None:
        yield "every row: at most 1.00", _yes(worst <= 1.0), f"at most {worst:.2f}"


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def _ratio(found: dict[str, Any] | None) -> str:
    if found is None:
        return "-"
    steady = "" if found["steady"] else ", not steady"
    return f"{found['ratio']:.3f} ({found['low']:.3f} to {found['high']:.3f}{steady})"
