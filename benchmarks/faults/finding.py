"""What a fault script found, and the file that keeps all of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from benchmarks.lib.provenance import RESULTS, provenance, write_results

FILE = RESULTS / "faults.json"


@dataclass(frozen=True)
class Finding:
    """One script's.

    Attributes:
        injected: How often.
        found: What was counted or timed, by name.
        wrong: What is not as the table says, a sentence each; empty where it holds.
    """

    injected: int
    found: dict[str, Any]
    wrong: list[str] = field(default_factory=list)


def keep(name: str, found: Finding) -> None:
    """Write a finding into the file of results, beside those of the other scripts."""
    made = provenance("optuna", "torch", "ultralytics", "onnxruntime")
    content = json.loads(FILE.read_text()) if FILE.exists() else {}
    content[name] = {
        "injected": found.injected,
        "holds": not found.wrong,
        "found": found.found,
        "wrong": found.wrong,
        "date": made["date"],
        "versions": made["versions"],
        "beside_other_work": made["state"].get("load_1min"),
    }
    write_results(FILE, dict(sorted(content.items())))
