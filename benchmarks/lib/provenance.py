"""Where and when a benchmark's numbers were made, and the JSON file that keeps both together."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from autoprune.latency.runner import describe_machine, machine_state
from autoprune.storage.yaml_io import write_atomic

RESULTS = Path(__file__).resolve().parents[1] / "results"


def provenance(*packages: str) -> dict[str, Any]:
    """Date (UTC), machine, its load at this moment, and the versions of `packages`."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "state": machine_state(),
        "versions": {package: version(package) for package in packages},
    }


def save_results(name: str, content: dict[str, Any]) -> Path:
    """Write `results/<name>.json` atomically and return its path."""
    path = RESULTS / f"{name}.json"
    write_results(path, content)
    return path


def write_results(path: Path, content: dict[str, Any]) -> None:
    """Write a results file atomically; its folder is made."""
    write_atomic(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
