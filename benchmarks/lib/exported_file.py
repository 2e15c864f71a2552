"""How benchmarks/README.md shows `results/exported_file.json`."""

from __future__ import annotations

from typing import Any

from benchmarks.lib.markdown_table import table

BASE = "without rewrites"
SHOWN = ("as exported", "ultralytics", "ultralytics, simplified")


def render(content: dict[str, Any]) -> str:
    """One row per model, size and share of channels removed."""
    names = [name for name in SHOWN if any(name in row["files"] for row in content["rows"])]
    rows = [
        (
            row["model"],
            f"{row['imgsz']} px",
            f"{row['ratio']:.0%}",
            row["threads"],
            f"{row['files'][BASE]['ms']:.2f}",
            *(_ratio(row["files"].get(name)) for name in names),
        )
        for row in content["rows"]
    ]
    titles = ("model", "size", "channels removed", "threads", f"{BASE}, ms")
    return (
        f"Time over that of our export without its rewrites, {content['runtime']}, all files of a"
        " row interleaved in one process; in brackets the 95 % interval. Same numbers in every"
        " file. Older tables on this page time files without the rewrites.\n\n"
        + table((*titles, *names), rows)
    )


def _ratio(found: dict[str, Any] | None) -> str:
    if found is None:
        return "-"
    steady = "" if found["steady"] else ", not steady"
    return f"{found['ratio']:.3f} ({found['low']:.3f} to {found['high']:.3f}{steady})"
