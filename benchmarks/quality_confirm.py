"""Fine-tune every method's final plans with several seeds, and say what the differences are."""

from __future__ import annotations

import json
import math
import statistics
import time
from dataclasses import replace
from typing import Any

from provenance import RESULTS, provenance, save_results
from quality_bench import LEVELS, Quality, rounded
from quality_rivals import METHODS, Finals, NoPlan
from scipy import stats

from autoprune.errors import TrialFailed
from autoprune.evaluation.quiet import quiet
from autoprune.pruning.size import model_size
from autoprune.record import SHORT
from autoprune.search.evaluate import train_and_score

CONFIDENCE = 0.95
FIRST_GUESS_S = 60.0

Row = dict[str, Any]


class OutOfTime(Exception):
    """The next fine-tune would end too late."""


def load_confirmed(name: str) -> dict[str, Any]:
    """The committed result of a data set, {} before it was begun."""
    path = RESULTS / f"search_quality_confirm_{name}.json"
    content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return content


class Confirmation:
    """Fills one row per level and method; written after every choice and every fine-tune."""

    def __init__(self, quality: Quality, name: str, stop_at: float | None) -> None:
        self.quality, self.name, self.stop_at = quality, name, stop_at
        self.finals = Finals(quality, name)
        self.made = provenance("torch", "ultralytics", "onnxruntime", "scipy")
        content = load_confirmed(name)
        if content and content["base"] != quality.bench.base_hash:
            raise SystemExit("the committed result is of another dense model: move it away first")
        self.rows: list[Row] = content.get("rows", [])
        self.longest_s = 0.0

    def run(self, seeds: int, levels: tuple[float, ...] = LEVELS) -> None:
        """Choose all plans, then fine-tune them: seed by seed, so that any stop leaves a whole."""
        try:
            for level in levels:
                for method in METHODS:
                    self._choose(level, method)
            for seed in range(seeds):
                for row in self.rows:
                    if row["level"] in levels:
                        self._fine_tune(row, seed)
        except OutOfTime:
            print("Time is up. The same command continues.")

    def _choose(self, level: float, method: str) -> None:
        row = self._row(level, method)
        if row is not None and "missing" not in row:
            return
        self._check_time(FIRST_GUESS_S)
        if row is not None:
            self.rows.remove(row)
        try:
            choice = self._chosen(level, method)
        except NoPlan as reason:
            self._add({"level": level, "method": method, "missing": str(reason), "seeds": []})
            return
        module = self.finals.make(method, choice)
        size = model_size(module, self.quality.bench.imgsz)
        untrained = self.quality.score(module, self.quality.bench.data.selection_images)
        row = {"level": level, "method": method, **choice, "params": size.params, "macs": size.macs}
        self._add(row | {"untrained": rounded(untrained.map50_95), "seeds": []})

    def _chosen(self, level: float, method: str) -> Row:
        """The method's choice; the L2 engine takes the plan of `uniform`, timed with it."""
        same = self._row(level, "uniform") if method == "uniform, l2" else None
        if same is None:
            return self.finals.choose(method, level)
        if "missing" in same:
            raise NoPlan(same["missing"])
        shared = ("how", "plan", "ratio", "ratio_low", "ratio_high", "steady")
        return {key: same[key] for key in shared}

    def _fine_tune(self, row: Row, seed: int) -> None:
        if "missing" in row or any(done["seed"] == seed for done in row["seeds"]):
            return
        self._check_time(self.longest_s or FIRST_GUESS_S)
        began = time.monotonic()
        bench = self.quality.bench
        folder = bench.folder.root / "confirm" / f"{row['method']}-{row['level']:g}-{seed}"
        module = self.finals.make(row["method"], row)
        dense_map = self.quality.dense.map50_95 or 1.0
        settings = bench.fine_tune.after_losing(1 - row["untrained"] / dense_map)
        try:
            with quiet(folder / "log.txt"):
                trained, score = train_and_score(
                    bench,
                    module,
                    folder,
                    self.quality.listener,
                    replace(settings, seed=seed),
                    SHORT,
                )
            test = self.quality.score(trained, bench.data.final_images)
            scores = {"val": score.metrics.map50_95, "test": test.map50_95}
        except TrialFailed as failure:  # not finite: as useless as a network that finds nothing
            print(f"{row['method']}, seed {seed}: {failure}")
            scores = {"val": 0.0, "test": 0.0}
        self.longest_s = max(self.longest_s, time.monotonic() - began)
        row["seeds"].append(
            {
                "seed": seed,
                **{split: rounded(value) for split, value in scores.items()},
                "seconds": rounded(time.monotonic() - began, 1),
            }
        )
        for split in ("val", "test"):
            spread = interval(_scores(row, split))
            row[f"{split}_half_width"] = None if spread is None else rounded(spread[1])
        self._save()
        print(
            f"{row['level']:g} {row['method']}, seed {seed}:"
            f" val {scores['val']:.3f}, test {scores['test']:.3f}",
            flush=True,
        )

    def _row(self, level: float, method: str) -> Row | None:
        found = (row for row in self.rows if (row["level"], row["method"]) == (level, method))
        return next(found, None)

    def _add(self, row: Row) -> None:
        self.rows.append(row)
        order = list(METHODS)
        self.rows.sort(key=lambda row: (-row["level"], order.index(row["method"])))
        self._save()
        shown = row.get("missing") or f"{row['how']}: {row['ratio']:.3f} of dense latency"
        print(f"{row['level']:g} {row['method']}: {shown}", flush=True)

    def _check_time(self, needed_s: float) -> None:
        if self.stop_at is not None and self.stop_at - time.monotonic() < needed_s:
            raise OutOfTime

    def _save(self) -> None:
        content = {
            "claim": "final plans at equal measured latency, fine-tuned alike",
            "set": self.name,
            "base": self.quality.bench.base_hash,
            "dense": self.quality.dense_scores,
            "fine_tune": self.quality.bench.fine_tune.as_mapping(),
            "rows": self.rows,
            "gains": gains(self.rows),
            "mean_gains": mean_gains(self.rows),
        }
        save_results(f"search_quality_confirm_{self.name}", content | self.made)


def interval(values: list[float]) -> tuple[float, float] | None:
    """Mean and half-width of the t interval; None for fewer than two values."""
    if len(values) < 2:
        return None
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    half = quantile * statistics.stdev(values) / math.sqrt(len(values))
    return statistics.fmean(values), half


def gains(rows: list[Row]) -> list[Row]:
    """Ours less each rival, in mAP50-95, per level and split, with Welch's interval."""
    found = []
    for rival in rows:
        ours = next(
            (r for r in rows if (r["level"], r["method"]) == (rival["level"], "ours")), None
        )
        if ours is None or rival is ours:
            continue
        for split in ("val", "test"):
            first, second = (_scores(row, split) for row in (ours, rival))
            if min(len(first), len(second)) < 2:
                continue
            test = stats.ttest_ind(first, second, equal_var=False)
            bounds = test.confidence_interval(CONFIDENCE)
            found.append(
                {
                    "level": rival["level"],
                    "rival": rival["method"],
                    "split": split,
                    "gain": rounded(statistics.fmean(first) - statistics.fmean(second)),
                    "low": _finite(bounds.low),
                    "high": _finite(bounds.high),
                }
            )
    return found


def mean_gains(rows: list[Row]) -> list[Row]:
    """The mean over levels of ours less each rival, by seed, with the t interval over seeds."""
    found = []
    for rival in [method for method in METHODS if method != "ours"]:
        for split in ("val", "test"):
            by_seed = _gains_by_seed(rows, rival, split)
            whole = [statistics.fmean(levels) for levels in by_seed.values()]
            spread = interval(whole)
            if spread is not None:
                mean, half = spread
                levels = len(next(iter(by_seed.values())))
                found.append(
                    {
                        "rival": rival,
                        "split": split,
                        "levels": levels,
                        "seeds": len(whole),
                        "gain": rounded(mean),
                        "half_width": rounded(half),
                    }
                )
    return found


def _gains_by_seed(rows: list[Row], rival: str, split: str) -> dict[int, list[float]]:
    """Seed -> gains of all levels, for seeds that every level of both methods has."""
    pairs = []
    for level in LEVELS:
        both = [
            {done["seed"]: done[split] for done in row["seeds"]}
            for method in ("ours", rival)
            for row in rows
            if (row["level"], row["method"]) == (level, method) and row["seeds"]
        ]
        if len(both) == 2:
            pairs.append(both)
    if not pairs:
        return {}
    shared = set.intersection(*({*ours} & {*other} for ours, other in pairs))
    return {seed: [ours[seed] - other[seed] for ours, other in pairs] for seed in sorted(shared)}


def _scores(row: Row, split: str) -> list[float]:
    return [done[split] for done in row["seeds"]]


def _finite(value: float) -> float | None:
    return rounded(float(value)) if math.isfinite(value) else None
