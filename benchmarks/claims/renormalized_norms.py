"""Claim: own batch-norm statistics at the same function help a pruned network's short fine-tune.

    python benchmarks/claims/renormalized_norms.py [--seeds 3] [--set second]

The bundled demo checkpoint, or the dense model of the second data set, obs order and compensated,
then the search's short fine-tune, with and without `renormalize_batchnorm` before it; mAP50-95 on
val and test. About 40 s per fine-tune on one core. Written after each; what the
results file has is not made again: move it away to begin anew.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import checkout  # noqa: F401
import filelock
import platformdirs
import torch

from autoprune.demo.bundle import demo_checkpoint
from autoprune.demo.dataset import demo_data_yaml
from autoprune.domain.plan import PruningPlan
from autoprune.evaluation.quiet import prepare_environment
from benchmarks.lib.provenance import RESULTS, provenance, save_results

prepare_environment()

from autoprune.evaluation.renormalize import renormalize_batchnorm  # noqa: E402
from autoprune.pruning.prune import uniform_plan  # noqa: E402
from benchmarks.lib.short_fine_tunes import DEEP_NAME, Bench, deep_plan  # noqa: E402
from benchmarks.search_quality.second_set import second_checkpoint, second_data_yaml  # noqa: E402

KEYS = ("without", "with")


def score(bench: Bench, plan: PruningPlan, renormalized: bool, seed: int) -> dict[str, Any]:
    """mAP50-95 before and after the short fine-tune."""
    pruned = bench.pruner.prune(plan)
    untrained = bench.map_of(pruned, "val")
    if renormalized:
        renormalize_batchnorm(pruned, bench.images, bench.imgsz)
        again = bench.map_of(pruned, "val")
        assert abs(again - untrained) < 0.002, (untrained, again)  # the same function
    tuned = bench.trained(pruned, untrained, seed)
    return {
        "untrained": untrained,
        **bench.scores(tuned.module),
        "seconds": round(tuned.seconds, 1),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--set", choices=("demo", "second"), default="demo")
    arguments.add_argument(
        "--share", default="1/1", help="every n-th fine-tune, from the i-th: i/n"
    )
    asked = arguments.parse_args()
    first, step = map(int, asked.share.split("/"))
    torch.set_num_threads(1)
    made = provenance("torch", "ultralytics")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(*_given(asked.set), Path(folder))
        widths = bench.pruner.widths
        plans = {
            "uniform 0.30": uniform_plan(widths, 0.30),
            "uniform 0.45": uniform_plan(widths, 0.45),
            DEEP_NAME: deep_plan(widths),
        }
        items = list(itertools.product(range(asked.seeds), plans, ("without", "with")))
        name = "renormalized_norms" + ("" if asked.set == "demo" else f"_{asked.set}")
        for seed, plan, key in items[first - 1 :: step]:
            if done(name, plan, key, seed):
                continue
            began = time.monotonic()
            found = score(bench, plans[plan], key == "with", seed)
            seconds = time.monotonic() - began
            print(f"{plan}, seed {seed}, {key}: {found}, {seconds:.0f} s", flush=True)
            add(name, {"set": asked.set, "dense": bench.dense, **made}, plan, key, seed, found)


def done(name: str, plan: str, key: str, seed: int) -> bool:
    """Whether the results file has a fine-tune already: a stopped run goes on."""
    path = RESULTS / f"{name}.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    return any(row["plan"] == plan and any(e["seed"] == seed for e in row[key]) for row in rows)


def _given(name: str) -> tuple[Path, Path]:
    """The dense model and the data of a set."""
    if name == "demo":
        return demo_checkpoint(), demo_data_yaml()
    scratch = Path(platformdirs.user_cache_dir("autoprune")) / "search-quality"
    model = second_checkpoint(scratch)
    if not model.exists():
        raise SystemExit("train it first: python -m benchmarks.search_quality train")
    return model, second_data_yaml(scratch)


def add(
    name: str, about: dict[str, Any], plan: str, key: str, seed: int, found: dict[str, Any]
) -> None:
    """Add one fine-tune to the results file, in place of an earlier one of the same seed."""
    path = RESULTS / f"{name}.json"
    with filelock.FileLock(Path(tempfile.gettempdir()) / f"{name}.lock"):
        known = json.loads(path.read_text())["rows"] if path.exists() else []
        rows = {row["plan"]: row for row in known}
        row = rows.setdefault(plan, {"plan": plan, "without": [], "with": []})
        others = [each for each in row[key] if each["seed"] != seed]
        row[key] = sorted([*others, {"seed": seed, **found}], key=lambda each: each["seed"])
        for split in ("val", "test"):
            before, after = ({one["seed"]: one[split] for one in row[k]} for k in KEYS)
            gains = [100 * (after[each] - before[each]) for each in before.keys() & after.keys()]
            row[f"{split}_gain_points"] = round(statistics.fmean(gains), 2) if gains else None
        content = {
            "claim": "batch norms with the pruned network's own statistics before the fine-tune",
            "seeds": max(len(row[k]) for row in rows.values() for k in KEYS),
            "rows": list(rows.values()),
        }
        save_results(name, content | about)


if __name__ == "__main__":
    main()
