"""Fine-tune a pool of varied plans once; rivals are replayed on it later."""

from __future__ import annotations

import json
import time
from typing import Any

import filelock

from autoprune.search.evaluate.candidate import Candidate, evaluate_untrained
from autoprune.search.learn.learn_latency import PlanTimer
from benchmarks.lib.provenance import RESULTS, provenance, save_results
from benchmarks.search_quality.bench import Quality, Timer, fine_tuned_scores, rounded
from benchmarks.search_quality.plans import plan_of, pool_plans

BATCH = 6  # plans timed in one process
BATCH_S = 20.0
LATENCY = ("ratio", "ratio_low", "ratio_high", "steady")
STEADY = 0.02  # half-width of the interval of a ratio, relative


def load_pool(name: str) -> dict[str, Any]:
    """The committed pool of a data set, {} before it was begun."""
    path = RESULTS / f"search_quality_pool_{name}.json"
    content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return content


def usable(pool: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows with a measured latency and a score after the fine-tune."""
    return [row for row in pool.get("rows", []) if "val" in row and "ratio" in row]


def fill_pool(
    quality: Quality, name: str, plans: int, stop_at: float | None, share: tuple[int, int] = (1, 1)
) -> None:
    """Train, then measure, the plans that are not in the pool yet; written after each.

    Args:
        quality: The data set's bench.
        name: "demo" or "second".
        plans: Size of the whole pool.
        stop_at: `time.monotonic()` beyond which none is begun that would, going by the longest so
            far, end later; None for no such limit.
        share: (i, n) trains every n-th plan and measures none: what trains would disturb what
            measures. (1, 1) does all that is left.
    """
    pool = _Pool(quality, name, pool_plans(quality, plans))
    timer = Timer(stop_at)
    for drawn in pool.plans:
        known = pool.row(drawn)
        if drawn["number"] % share[1] == share[0] - 1 and not ("val" in known or "failed" in known):
            if not timer.allows("train"):
                print(f"Time is up. The same command continues: {pool.state()}.")
                return
            with timer.of("train"):
                pool.train(drawn)
    pool.measure_all(pool.unmeasured() if share == (1, 1) else [], timer)


def measure_again(quality: Quality, name: str, stop_at: float | None) -> None:
    """Time all plans of the committed pool anew, with what is exported today.

    Scores stay, with the date and the versions of their training; a stopped run goes on.

    Args:
        quality: The data set's bench.
        name: "demo" or "second".
        stop_at: As for `fill_pool`.
    """
    content = load_pool(name)
    rows = content["rows"]
    drawn = [row | {"kept": _widths(row["kept"])} for row in rows]
    pool, timer = _Pool(quality, name, drawn), Timer(stop_at)
    if "trained" not in content:
        pool.forget_latencies({key: content[key] for key in ("date", "machine", "versions")})
    pool.measure_all(pool.unmeasured(), timer)


class _Pool:
    """The committed file of one data set's pool, which several processes may fill at once."""

    def __init__(self, quality: Quality, name: str, plans: list[dict[str, Any]]) -> None:
        self.quality, self.name, self.plans = quality, name, plans
        self.made = provenance("torch", "ultralytics", "onnxruntime")
        content = load_pool(name)
        if content and content["base"] != quality.bench.base_hash:
            raise SystemExit("the committed pool is of another dense model: move it away first")
        for row in content.get("rows", []):
            number = row["number"]
            if number < len(plans) and row["kept"] != _text(plans[number]["kept"]):
                raise SystemExit(
                    f"plan {number} of the committed pool is not drawn again: the scratch folder"
                    " it was begun in is gone; move the pool away, or continue it there"
                )

    def row(self, drawn: dict[str, Any]) -> dict[str, Any]:
        """What is known of a plan; {} before it was begun."""
        rows = load_pool(self.name).get("rows", [])
        return next((row for row in rows if row["number"] == drawn["number"]), {})

    def state(self) -> str:
        """How far the pool is."""
        rows = load_pool(self.name).get("rows", [])
        trained = sum("val" in row or "failed" in row for row in rows)
        measured = sum("ratio" in row for row in rows)
        return f"{trained} of {len(self.plans)} plans trained, {measured} measured"

    def train(self, drawn: dict[str, Any]) -> None:
        """Prune, score, fine-tune and score again one plan, as a search does."""
        bench, number = self.quality.bench, drawn["number"]
        began = time.monotonic()
        candidate = Candidate("trial", f"trial {number}", number, plan_of(self.quality, drawn))
        record = evaluate_untrained(bench, candidate, self.quality.listener)
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
        row["untrained"] = rounded(record.untrained_map50_95)
        if record.failure is not None:
            row["failed"] = f"{record.failure.reason}: {record.failure.detail}"[:200]
        else:
            untrained = record.untrained_map50_95 or 0.0
            module = bench.pruner.prune(candidate.plan)
            row |= fine_tuned_scores(self.quality, module, untrained, f"pool-{number}")
        row["seconds"] = rounded(time.monotonic() - began, 1)
        self._put(row)

    def unmeasured(self) -> list[dict[str, Any]]:
        """Trained plans that have no measured latency yet."""
        rows = ((drawn, self.row(drawn)) for drawn in self.plans)
        return [drawn for drawn, row in rows if "val" in row and "ratio" not in row]

    def measure_all(self, plans: list[dict[str, Any]], timer: Timer) -> None:
        """Time plans, a few in one process, while there is time."""
        for start in range(0, len(plans), BATCH):
            if not timer.allows("measure"):
                print(f"Time is up. The same command continues: {self.state()}.")
                return
            with timer.of("measure"):
                self.measure(plans[start : start + BATCH])
        print(f"Done: {self.state()}.")

    def measure(self, plans: list[dict[str, Any]]) -> None:
        """Time plans against the dense model, interleaved in one process."""
        bench = self.quality.bench
        timer = PlanTimer(
            pruner=bench.pruner,
            imgsz=bench.imgsz,
            target=bench.target,
            options=bench.options,
            dense=bench.dense_export,
            export=bench.export,
            expected=bench.dense_latency.fingerprint,
            dense_s=bench.dense_latency.median_ms / 1e3,
        )
        found = timer.time([plan_of(self.quality, drawn) for drawn in plans], BATCH_S)
        for drawn, timed in zip(plans, found.plans, strict=True):
            predicted = self.quality.predicted_ratio(plan_of(self.quality, drawn))
            latency = {
                "predicted_ratio": rounded(predicted),
                "ratio": rounded(timed.ratio),
                "ratio_low": rounded(timed.low),
                "ratio_high": rounded(timed.high),
                "steady": timed.half_width <= STEADY,
            }
            self._put(self.row(drawn) | latency)

    def forget_latencies(self, trained: dict[str, Any]) -> None:
        """Keep scores alone, with what they were made by and when."""
        known = load_pool(self.name)["rows"]
        rows = [{key: row[key] for key in row if key not in LATENCY} for row in known]
        content = self._about() | {"trained": trained, "rows": rows}
        save_results(f"search_quality_pool_{self.name}", content)

    def _put(self, row: dict[str, Any]) -> None:
        with filelock.FileLock(self.quality.bench.folder.root / "pool.lock"):
            rows = [r for r in load_pool(self.name).get("rows", []) if r["number"] != row["number"]]
            rows = sorted([*rows, row], key=lambda row: row["number"])
            save_results(f"search_quality_pool_{self.name}", self._about() | {"rows": rows})
        print(f"[{self.state()}] {_line(row)}", flush=True)

    def _about(self) -> dict[str, Any]:
        bench, trained = self.quality.bench, load_pool(self.name).get("trained")
        return {
            "claim": "varied plans, fine-tuned alike",
            "set": self.name,
            "base": bench.base_hash,
            "imgsz_px": bench.train_size,
            "images": {
                "train": len(bench.data.train),
                "val": len(bench.data.selection_images),
                "test": len(bench.data.final_images),
            },
            "fine_tune": bench.fine_tune.as_mapping(),
            "dense": self.quality.dense_scores,
            "choices": {name: _text(offered) for name, offered in bench.space.choices.items()},
            "groups": _text(group.width for group in bench.pruner.groups),
            **({"trained": trained} if trained else {}),
            **self.made,
        }


def _text(widths: Any) -> str:
    """Widths as one text: a list would take a line of the file for each."""
    return " ".join(str(int(width)) for width in widths)


def _widths(text: str) -> list[int]:
    return [int(width) for width in text.split()]


def _line(row: dict[str, Any]) -> str:
    if "failed" in row:
        return f"{row['origin']}: {row['failed']}"
    ratio = f"{row['ratio']:.3f}" if "ratio" in row else "?"
    return (
        f"{row['origin']:>9}  {ratio} of dense (predicted {row['predicted_ratio']:.3f})"
        f"  untrained {row['untrained']:.3f}  val {row['val']:.3f}  test {row['test']:.3f}"
        f"  {row['seconds']:.0f} s"
    )
