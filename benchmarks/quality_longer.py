"""What a longer fine-tune leaves of the differences: the final plans of `confirm`, trained on."""

from __future__ import annotations

import json
import time
from typing import Any

import filelock
from provenance import RESULTS, provenance, save_results
from quality_bench import Quality, Timer, fine_tuned_scores, rounded
from quality_confirm import load_confirmed, network_of, part
from quality_gains import Row
from quality_rivals import Finals

METHODS = ("ours", "uniform", "uniform, l2", "torch-pruning")


def train_longer(
    quality: Quality,
    name: str,
    levels: tuple[float, ...],
    epochs: int,
    share: tuple[int, int],
    stop_at: float | None,
) -> None:
    """Fine-tune the final plans of `confirm` again, by the same recipe with more epochs.

    Each network is trained once, with the first seed and from the same start as in `confirm`; the
    learning rate falls over all epochs. Measures nothing, so shares may run at once.

    Args:
        quality: The prepared study.
        name: The data set's.
        levels: Of the dense latency.
        epochs: Instead of the short fine-tune's.
        share: (i, n) does every n-th network.
        stop_at: `time.monotonic()` after which no network is begun that would not end in time.

    Raises:
        SystemExit: `confirm` has chosen no plan at these levels.
    """
    chosen = [
        row
        for row in load_confirmed(name).get("rows", [])
        if row["method"] in METHODS and row["level"] in levels and "plan" in row
    ]
    if not chosen:
        raise SystemExit(f"no final plan is known: run `confirm --set {name}` first")
    finals, timer = Finals(quality, name), Timer(stop_at)
    networks = list({network_of(row): row for row in chosen}.values())
    for row in part(networks, share):
        if any(_key(known) == (row["level"], row["method"], epochs) for known in _rows(name)):
            continue
        if not timer.allows("fine-tune"):
            print("Time is up. The same command continues.")
            return
        with timer.of("fine-tune"):
            began = time.monotonic()
            module = finals.make(row["method"], row)
            folder = f"longer-{row['method']}-{row['level']:g}-{epochs}"
            found = fine_tuned_scores(quality, module, row["untrained"], folder, epochs=epochs)
            found |= {"epochs": epochs, "seconds": rounded(time.monotonic() - began, 1)}
        same = [other for other in chosen if network_of(other) == network_of(row)]
        _add(quality, name, [_described(other) | found for other in same])
        print(
            f"{row['level']:g} {row['method']}: test {found['test']:.3f} after {epochs}", flush=True
        )


def _described(row: Row) -> Row:
    """A row of `confirm` in short: its plan, and what the short fine-tune made of it."""
    short = [done["test"] for done in row["seeds"] if done["seed"] == 0]
    return {
        **{key: row[key] for key in ("level", "method", "how", "ratio", "untrained")},
        "short_test": short[0] if short else None,
    }


def _key(row: Row) -> tuple[float, str, int]:
    return row["level"], row["method"], row["epochs"]


def _rows(name: str) -> list[Row]:
    path = RESULTS / f"search_quality_longer_{name}.json"
    rows: list[Row] = json.loads(path.read_text())["rows"] if path.exists() else []
    return rows


def _add(quality: Quality, name: str, rows: list[Row]) -> None:
    """Write more rows; other processes write theirs."""
    with filelock.FileLock(quality.bench.folder.root / "longer.lock"):
        known = [*_rows(name), *rows]
        known.sort(key=lambda row: (-row["level"], METHODS.index(row["method"]), row["epochs"]))
        content: dict[str, Any] = {
            "claim": "final plans within a measured latency after a longer fine-tune",
            "set": name,
            "base": quality.bench.base_hash,
            "dense": quality.dense_scores,
            "fine_tune": quality.bench.fine_tune.as_mapping(),
            "rows": known,
        }
        made = provenance("torch", "ultralytics")
        save_results(f"search_quality_longer_{name}", content | made)
