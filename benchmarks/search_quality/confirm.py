"""Fine-tune every method's final plans with several seeds, and say what the differences are."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import filelock

from autoprune.pruning.size import model_size
from benchmarks.lib.provenance import RESULTS, provenance, save_results
from benchmarks.search_quality.bench import Quality, Timer, fine_tuned_scores, rounded
from benchmarks.search_quality.gains import Row, gains, interval, mean_gains, scores_of
from benchmarks.search_quality.rivals import METHODS, Finals, NoPlan


class OutOfTime(Exception):
    """The next item would end too late."""


def load_confirmed(name: str) -> dict[str, Any]:
    """The committed result of a data set, {} before it was begun."""
    path = RESULTS / f"search_quality_confirm_{name}.json"
    content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return content


class Confirmation:
    """Fills one row per level and method; written after every choice and every fine-tune."""

    def __init__(self, quality: Quality, name: str, stop_at: float | None) -> None:
        self.quality, self.name, self.timer = quality, name, Timer(stop_at)
        self.finals = Finals(quality, name)
        self.made = provenance("torch", "ultralytics", "onnxruntime", "scipy")
        content = load_confirmed(name)
        if content and content["base"] != quality.bench.base_hash:
            raise SystemExit("the committed result is of another dense model: move it away first")

    def run(self, seeds: int, levels: tuple[float, ...], share: tuple[int, int]) -> None:
        """Choose all plans, then fine-tune them: seed by seed, so that any stop leaves a whole.

        Args:
            seeds: Fine-tunes of each plan.
            levels: Of the dense latency.
            share: (i, n) does every n-th item, and measures nothing: what trains would disturb
                what measures. Plans are then not chosen, but the searches for them run. (1, 1)
                does all that is left.
        """
        try:
            if share == (1, 1):
                self._choose_all(levels)
            else:
                for level in part([*levels], share):
                    if self._row(level, "ours") is None:
                        self._in_time("search", partial(self.finals.scored, level))
            for seed in range(seeds):
                for row in part(self._networks(levels), share):
                    if all(known["seed"] != seed for known in row["seeds"]):
                        self._in_time("fine-tune", partial(self._fine_tune, row, seed))
        except OutOfTime:
            print("Time is up. The same command continues.")

    def _in_time(self, kind: str, work: Callable[[], object]) -> None:
        if not self.timer.allows(kind):
            raise OutOfTime
        with self.timer.of(kind):
            work()

    def _choose_all(self, levels: tuple[float, ...]) -> None:
        for level in levels:
            for method in METHODS:
                if "plan" not in (self._row(level, method) or {}):
                    self._in_time("choose", partial(self._choose, level, method))

    def _networks(self, levels: tuple[float, ...]) -> list[Row]:
        """A row of each network: methods that chose the same share it and its fine-tunes."""
        chosen = [row for row in self._rows() if row["level"] in levels and "plan" in row]
        return list({network_of(row): row for row in chosen}.values())

    def _choose(self, level: float, method: str) -> None:
        row: Row = {"level": level, "method": method}
        try:
            choice = self._chosen(level, method)
        except NoPlan as reason:
            self._put(row | {"missing": str(reason), "seeds": []})
            return
        module = self.finals.make(method, choice)
        size = model_size(module, self.quality.bench.imgsz)
        untrained = self.quality.score(module, self.quality.bench.data.selection_images)
        sizes = {"params": size.params, "macs": size.macs}
        scores: Row = {"untrained": rounded(untrained.map50_95), "seeds": []}
        self._put(row | choice | sizes | scores)

    def _chosen(self, level: float, method: str) -> Row:
        """The method's choice; the L2 engine takes the plan of `uniform`, timed with it."""
        same = self._row(level, "uniform") if method == "uniform, l2" else None
        if same is None:
            return self.finals.choose(method, level)
        if "missing" in same:
            raise NoPlan(same["missing"])
        shared = ("how", "fine_tunes", "plan", "ratio", "ratio_low", "ratio_high", "steady")
        return {key: same[key] for key in shared}

    def _fine_tune(self, row: Row, seed: int) -> None:
        began = time.monotonic()
        module = self.finals.make(row["method"], row)
        folder = f"{row['method']}-{row['level']:g}-{seed}"
        found = fine_tuned_scores(self.quality, module, row["untrained"], folder, seed)
        seconds = rounded(time.monotonic() - began, 1)
        for same in self._rows():
            if "plan" in same and network_of(same) == network_of(row):
                self._put(same, {"seed": seed, **found, "seconds": seconds})
        print(
            f"{row['level']:g} {row['method']}, seed {seed}:"
            f" val {found['val']:.3f}, test {found['test']:.3f}",
            flush=True,
        )

    def _rows(self) -> list[Row]:
        rows: list[Row] = load_confirmed(self.name).get("rows", [])
        return rows

    def _row(self, level: float, method: str) -> Row | None:
        found = (row for row in self._rows() if (row["level"], row["method"]) == (level, method))
        return next(found, None)

    def _put(self, row: Row, fine_tuned: Row | None = None) -> None:
        """Write a row, with one more seed; other processes write theirs."""
        key, order = (row["level"], row["method"]), list(METHODS)
        with filelock.FileLock(self.quality.bench.folder.root / "confirm.lock"):
            if fine_tuned is not None:
                row = self._row(*key) or row
                row["seeds"] = sorted([*row["seeds"], fine_tuned], key=lambda done: done["seed"])
                for split in ("val", "test"):
                    spread = interval(scores_of(row, split))
                    row[f"{split}_half_width"] = None if spread is None else rounded(spread[1])
            rows = [known for known in self._rows() if (known["level"], known["method"]) != key]
            rows = sorted([*rows, row], key=lambda r: (-r["level"], order.index(r["method"])))
            content = {
                "claim": "final plans within a measured latency, fine-tuned alike",
                "set": self.name,
                "base": self.quality.bench.base_hash,
                "dense": self.quality.dense_scores,
                "fine_tune": self.quality.bench.fine_tune.as_mapping(),
                "rows": rows,
                "gains": gains(rows),
                "mean_gains": mean_gains(rows),
            }
            save_results(f"search_quality_confirm_{self.name}", content | self.made)
        if fine_tuned is None:
            shown = row.get("missing") or f"{row['how']}: {row['ratio']:.3f} of dense latency"
            print(f"{key[0]:g} {key[1]}: {shown}", flush=True)


def part(items: list[Any], share: tuple[int, int]) -> list[Any]:
    """Every n-th item, from the i-th."""
    return items[share[0] - 1 :: share[1]]


def network_of(row: Row) -> str:
    """Names a network: the engine that makes it and its plan."""
    return f"{METHODS[row['method']][1].__name__} {json.dumps(row['plan'], sort_keys=True)}"
