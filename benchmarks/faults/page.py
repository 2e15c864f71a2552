"""docs/faults.md, made of the rows and of results/faults.json.

python -m benchmarks.faults.page
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.faults.finding import FILE
from benchmarks.faults.rows import ROWS, Row

PAGE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"

_HEAD = """\
# Faults: what is injected, and what happens

Each fault is injected for real, a few times by the tests and as often as the figure says by
`python -m benchmarks.faults [NAME ...]`, which keeps what it finds in `benchmarks/results/faults.json`.
This page is made of that file and of `benchmarks/faults/rows.py`; a test holds it against both, and looks
whether each test and script that it names exists. Where a figure is missing it says *not shown*. Times were
taken beside other work on the same machine.

## What limits a trial

| | limit | then |
|---|---|---|
| computes nothing | 5 minutes | interrupted, or its process ended; reason `timeout` |
| time of a score | 5 times what the dense model took, 10 minutes at least | its processes are killed; reason `timeout` |
| time of a fine-tune | that, and 5 times what 3 times the validation's time per image comes to; where it is to be cut short, twice what it was given | likewise |
| memory of a worker and what it started | 90 % of the memory that is available when workers start (a container's limit counts), shared out among them | likewise; reason `oom` |
| its process dies | tried once more with the same plan | reason `crash`, or `oom` where it was killed |
| 5 failures in a row, or 10 of the last 20 | | exit 5, with the reasons counted |

Workers are processes of their own and are used again for the next plan; one that ends is replaced. The parent looks twice a
second; memory that grows faster than that is the system's to refuse. Where one process is enough (a GPU, a few trials,
`--workers-local 1`) it is the search itself: beyond a limit it ends with exit code 4, and the same command records
the failure and goes on. Measurements have a limit of their own, on the target. Dense model, calibration and the longer
fine-tune run in the search: the first limit and `--timeout` hold there.

Other reasons: `nan`, `export`, `latency` (the target could not run the file, or its answer was broken), `collapsed` (mAP 0
after a fine-tune), `exception`. A target that does not answer fails no plan: the search pauses (exit 4).

## What leaves this machine

Nothing but what `--target ssh://` sends to the device. Ultralytics is offline and installs nothing; ONNX Runtime (from 1.29 on
also on Linux), OpenVINO and NNCF report their use to their makers unless told otherwise: autoprune switches that off wherever
it loads them, here and on the device. **Your own program that runs `best.onnx` reports again** unless `ORT_DISABLE_TELEMETRY=1` is set
before it imports onnxruntime.

## The table

"""


def page() -> str:
    """The text of the page."""
    results = json.loads(FILE.read_text()) if FILE.exists() else {}
    lines = ["| | injected | what happens | shown by | figure |", "|---|---|---|---|---|"]
    lines += [
        f"| {row.name} | {row.fault} | {row.happens} | {_shown(row)} | {_figure(row, results)} |"
        for row in ROWS
    ]
    return _HEAD + "\n".join(lines) + "\n"


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
    return ". ".join(part[0].upper() + part[1:] for part in parts).replace("|", "/")


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(each)}" for key, each in value.items())
    if isinstance(value, list):
        return " ".join(map(_plain, value))
    return str(value)


if __name__ == "__main__":
    PAGE.write_text(page())
