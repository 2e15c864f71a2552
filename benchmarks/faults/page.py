"""The table of docs/faults.md, made of the rows and of results/faults.json.

python -m benchmarks.faults.page
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.faults.finding import FILE
from benchmarks.faults.rows import ROWS, Row

PAGE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"

_MARK = "## The table"


def page() -> str:
    """The text of the page: what is written above the table, and the table."""
    results = json.loads(FILE.read_text()) if FILE.exists() else {}
    lines = ["| | injected | what happens | shown by | figure |", "|---|---|---|---|---|"]
    lines += [
        f"| {row.name} | {row.fault} | {row.happens} | {_shown(row)} | {_figure(row, results)} |"
        for row in ROWS
    ]
    head = PAGE.read_text().partition(_MARK)[0]
    return f"{head}{_MARK}\n\n" + "\n".join(lines) + "\n"


def _shown(row: Row) -> str:
    named = [f"`{test.partition('::')[2] or test}`" for test in row.tests]
    named += [f"**{script}**" for script in row.scripts]
    return ", ".join(named) or "not shown"


def _figure(row: Row, results: dict[str, Any]) -> str:
    parts = []
    for script in row.scripts:
        found = results.get(script)
        if found is None:
            parts.append(f"{script}: not shown")
            continue
        said = ", ".join(f"{key}: {_plain(value)}" for key, value in found["found"].items())
        holds = "" if found["holds"] else f" **does not hold**: {'; '.join(found['wrong'][:2])};"
        parts.append(f"{script}:{holds} {found['injected']} times; {said}")
    parts += [row.elsewhere] * bool(row.elsewhere)
    parts += [f"not shown: {row.missing}"] * bool(row.missing)
    text = ". ".join(part[0].upper() + part[1:] for part in parts)
    return " ".join(text.replace("|", "/").split())


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(each)}" for key, each in value.items())
    if isinstance(value, list):
        return " ".join(map(_plain, value))
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value)


if __name__ == "__main__":
    PAGE.write_text(page())
