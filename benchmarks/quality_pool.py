"""Fine-tune a pool of varied plans once; rivals are replayed on it later."""

from __future__ import annotations

import json
import time
from typing import Any

from provenance import RESULTS, provenance, save_results
from quality_bench import Quality, latency_row, rounded
from quality_plans import plan_of, pool_plans
from torch import nn

from autoprune.evaluation.checkpoint import load_yolo
from autoprune.record import TrialRecord
from autoprune.search.evaluate import Candidate, evaluate_trained

FIRST_GUESS_S = 60.0  # a plan takes this long, until one has been timed


def load_pool(name: str) -> dict[str, Any]:
    """The committed pool of a data set, {} before it was begun."""
    path = RESULTS / f"search_quality_pool_{name}.json"
    content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return content


def usable(pool: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows with a measured latency and a score after the fine-tune."""
    return [row for row in pool.get("rows", []) if "val" in row]


def fill_pool(quality: Quality, name: str, plans: int, stop_at: float | None) -> None:
    """Evaluate plans that are not in the pool yet, in their order; written after each.

    Args:
        quality: The data set's bench.
        name: "demo" or "second".
        plans: Size of the whole pool.
        stop_at: `time.monotonic()` beyond which none is begun that would, going by the longest so
            far, end later; None for no such limit.
    """
    made = provenance("torch", "ultralytics", "onnxruntime")
    content = load_pool(name)
    rows: list[dict[str, Any]] = content.get("rows", [])
    if rows and content["base"] != quality.bench.base_hash:
        raise SystemExit("the committed pool is of another dense model: move it away first")
    todo = pool_plans(quality, plans)
    for row in rows:
        if row["number"] < plans and row["signature"] != _text(todo[row["number"]]["signature"]):
            raise SystemExit(
                f"plan {row['number']} of the committed pool is not drawn again: the scratch"
                " folder it was begun in is gone; move the pool away, or continue it there"
            )
    done = {row["number"] for row in rows}
    longest = 0.0
    for drawn in todo:
        if drawn["number"] in done:
            continue
        left_s = float("inf") if stop_at is None else stop_at - time.monotonic()
        if left_s < (longest or FIRST_GUESS_S):
            print(f"Time is up: {len(rows)} of {plans} plans. The same command continues.")
            return
        began = time.monotonic()
        row = evaluate(quality, drawn)
        longest = max(longest, time.monotonic() - began)
        rows = sorted([*rows, row], key=lambda row: row["number"])
        print(f"[{len(rows)}/{plans}] {_line(row)}", flush=True)
        save_results(
            f"search_quality_pool_{name}",
            {
                "claim": "varied plans, fine-tuned alike",
                "set": name,
                "base": quality.bench.base_hash,
                "imgsz_px": quality.bench.train_size,
                "images": {
                    "train": len(quality.bench.data.train),
                    "val": len(quality.bench.data.selection_images),
                    "test": len(quality.bench.data.final_images),
                },
                "fine_tune": quality.bench.fine_tune.as_mapping(),
                "dense": quality.dense_scores,
                "choices": {
                    name: _text(offered) for name, offered in quality.bench.space.choices.items()
                },
                "groups": _text(group.width for group in quality.bench.pruner.groups),
                "rows": rows,
                **made,
            },
        )
    print(f"The pool is complete: {len(rows)} plans.")


def evaluate(quality: Quality, drawn: dict[str, Any]) -> dict[str, Any]:
    """Prune, measure, fine-tune and score one plan on val and test, as a search does."""
    bench, number = quality.bench, drawn["number"]
    began = time.monotonic()
    candidate = Candidate("trial", f"trial {number}", number, plan_of(quality, drawn))
    folder = candidate.folder(bench.folder)
    record = evaluate_trained(bench, candidate, None, quality.listener)
    row: dict[str, Any] = {
        "number": number,
        "origin": drawn["origin"],
        "drawn": drawn["drawn"],
        "kept": _text(drawn["kept"]),
        "signature": _text(drawn["signature"]),
        "predicted_ratio": drawn["predicted_ratio"],
    }
    if record.size is not None:
        row |= {"params": record.size.params, "macs": record.size.macs}
    if record.latency is not None:
        row |= latency_row(record.latency)
    row["untrained"] = rounded(record.untrained_map50_95)
    row |= _trained_scores(quality, record)
    row["seconds"] = rounded(time.monotonic() - began, 1)
    for file in folder.glob("model.*"):
        file.unlink()
    return row


def _trained_scores(quality: Quality, record: TrialRecord) -> dict[str, Any]:
    """mAP50-95 after the fine-tune on val and test; 0 for a plan that collapsed in it."""
    failure = record.failure
    if failure is not None and failure.reason == "collapsed":
        return {"val": 0.0, "test": 0.0}
    if failure is not None:
        return {"failed": f"{failure.reason}: {failure.detail}"[:200]}
    bench = quality.bench
    score = record.compared
    assert score is not None
    module: nn.Module = load_yolo(bench.folder.folder_of(record) / "model.pt").model
    test = quality.score(module, bench.data.final_images)
    return {
        "val": rounded(record.map50_95),
        "test": rounded(test.map50_95),
        "lr0": rounded(score.lr0, 6),
    }


def _text(widths: Any) -> str:
    """Widths as one text: a list would take a line of the file for each."""
    return " ".join(str(int(width)) for width in widths)


def _line(row: dict[str, Any]) -> str:
    if "failed" in row:
        return f"{row['origin']}: {row['failed']}"
    return (
        f"{row['origin']:>9}  {row['ratio']:.3f} of dense (predicted {row['predicted_ratio']:.3f})"
        f"  untrained {row['untrained']:.3f}  val {row['val']:.3f}  test {row['test']:.3f}"
        f"  {row['seconds']:.0f} s"
    )
