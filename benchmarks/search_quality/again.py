"""The final plans of `confirm`, fine-tuned again in another way, beside what they were there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import filelock
from torch import nn

from autoprune.domain.record import LONG, SHORT
from benchmarks.lib.provenance import RESULTS, provenance, save_results
from benchmarks.search_quality import sequential as in_sequence
from benchmarks.search_quality.bench import Quality, Timer, fine_tuned_scores, rounded
from benchmarks.search_quality.confirm import load_confirmed, network_of, part
from benchmarks.search_quality.gains import Row
from benchmarks.search_quality.rivals import Finals, plan_in


@dataclass(frozen=True)
class Again:
    """One other way to make or train the networks.

    Attributes:
        part: Of `benchmarks.search_quality`; names the results.
        claim: What the results show.
        methods: Whose final plans.
        seeds: Of the fine-tune.
        changes: Settings other than the short fine-tune's.
        maker: Gives what makes the network of a row; None for the method's own engine.
    """

    part: str
    claim: str
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    changes: Mapping[str, Any] = field(default_factory=dict)
    maker: Callable[[Quality], Callable[[Row], nn.Module]] | None = None

    def run(
        self,
        quality: Quality,
        name: str,
        levels: tuple[float, ...],
        share: tuple[int, int],
        stop_at: float | None,
    ) -> None:
        """Fine-tune what is not done yet; measures nothing, so shares may run at once.

        Args:
            quality: The prepared study.
            name: The data set's.
            levels: Of the dense latency.
            share: (i, n) does every n-th network.
            stop_at: `time.monotonic()` after which nothing is begun that would not end in time.

        Raises:
            SystemExit: `confirm` has chosen no plan at these levels.
        """
        chosen = [
            row
            for row in load_confirmed(name).get("rows", [])
            if row["method"] in self.methods and row["level"] in levels and "plan" in row
        ]
        if not chosen:
            raise SystemExit(f"no final plan is known: run `confirm --set {name}` first")
        finals, timer = Finals(quality, name), Timer(stop_at)
        make = self.maker(quality) if self.maker else lambda row: finals.make(row["method"], row)
        networks = part(list({network_of(row): row for row in chosen}.values()), share)
        for seed in self.seeds:
            for row in networks:
                key = (row["level"], row["method"], seed, self._epochs(quality))
                if key in map(_key, self._rows(name)):
                    continue
                if not timer.allows("fine-tune"):
                    print("Time is up. The same command continues.")
                    return
                with timer.of("fine-tune"):
                    found = self._fine_tune(quality, make(row), row, seed)
                same = [other for other in chosen if network_of(other) == network_of(row)]
                self._add(quality, name, [_described(other, seed) | found for other in same])
                print(f"{row['level']:g} {row['method']}, {seed}: {found['test']:.3f}", flush=True)

    def _fine_tune(self, quality: Quality, module: nn.Module, row: Row, seed: int) -> Row:
        untrained = quality.score(module, quality.bench.data.selection_images).map50_95
        began = time.monotonic()
        folder = f"{self.part}-{row['method']}-{row['level']:g}-{seed}"
        rung = LONG if "epochs" in self.changes else SHORT
        found = fine_tuned_scores(quality, module, untrained, folder, seed, rung, self.changes)
        seconds = rounded(time.monotonic() - began, 1)
        trained = {"epochs": self._epochs(quality), "seconds": seconds}
        return {"untrained": rounded(untrained), **found, **trained}

    def _epochs(self, quality: Quality) -> int:
        return int(self.changes.get("epochs", quality.bench.fine_tune.epochs))

    def _rows(self, name: str) -> list[Row]:
        path = RESULTS / f"search_quality_{self.part}_{name}.json"
        rows: list[Row] = json.loads(path.read_text())["rows"] if path.exists() else []
        return rows

    def _add(self, quality: Quality, name: str, rows: list[Row]) -> None:
        """Write more rows; other processes write theirs."""
        with filelock.FileLock(quality.bench.folder.root / f"{self.part}.lock"):
            known = [*self._rows(name), *rows]
            known.sort(key=lambda r: (-r["level"], self.methods.index(r["method"]), r["seed"]))
            content = {
                "claim": self.claim,
                "set": name,
                "base": quality.bench.base_hash,
                "dense": quality.dense_scores,
                "fine_tune": quality.bench.fine_tune.as_mapping(),
                "rows": known,
            }
            made = provenance("torch", "ultralytics")
            save_results(f"search_quality_{self.part}_{name}", content | made)


def _described(row: Row, seed: int) -> Row:
    """A row of `confirm` in short, with what it was there with the same seed."""
    done: Row = next((done for done in row["seeds"] if done["seed"] == seed), {})
    before = {"untrained": row["untrained"], "test": done.get("test"), "s": done.get("seconds")}
    described = {key: row[key] for key in ("level", "method", "how", "ratio")}
    return described | {"seed": seed, "before": before}


def _key(row: Row) -> tuple[float, str, int, int]:
    return row["level"], row["method"], row["seed"], row["epochs"]


def _in_sequence(quality: Quality) -> Callable[[Row], nn.Module]:
    bench = quality.bench
    images = bench.recalibration_images[: in_sequence.IMAGES]
    pruner = in_sequence.SequentialPruner(bench.pruner, bench.data, [*images], bench.train_size)
    return lambda row: pruner.prune(plan_in(row))


def longer(epochs: int) -> Again:
    """The same start and recipe, more epochs, over which the learning rate falls."""
    methods = ("ours", "uniform", "uniform, l2", "torch-pruning")
    claim = "final plans within a measured latency after a longer fine-tune"
    return Again("longer", claim, methods, (0,), {"epochs": epochs})


def distilled() -> Again:
    """The same start and recipe, the dense model's outputs as part of the loss."""
    claim = "final plans after the short fine-tune with the dense model as a teacher"
    return Again("distilled", claim, ("ours",), (0, 1, 2), {"distill": 1.0})


def sequential() -> Again:
    """The same plans and fine-tune, compensated layer after layer before it."""
    claim = "final plans compensated in sequence, before and after the short fine-tune"
    return Again("sequential", claim, ("ours", "uniform"), (0, 1, 2), maker=_in_sequence)
