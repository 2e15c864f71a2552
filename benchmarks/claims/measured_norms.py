"""Claim: after a short fine-tune, batch norms measured again can be far better than training's.

    python benchmarks/claims/measured_norms.py [MODEL.pt DATA.yaml] [--name demo] [--seeds 3]
        [--ratios 0.30 0.45] [--epochs N] [--save]

The bundled demo, or a model and its data; obs order and compensated; then the search's short
fine-tune. mAP50-95 on val and test with the running statistics that training leaves and with those
of training images that are not augmented; the search keeps what is better on val. About 40 s per
fine-tune of the demo on one core.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
from pathlib import Path
from typing import Any

import checkout  # noqa: F401
import torch

from autoprune.demo.bundle import demo_checkpoint
from autoprune.demo.dataset import demo_data_yaml
from autoprune.evaluation.quiet import prepare_environment
from benchmarks.lib.provenance import RESULTS, provenance, save_results

prepare_environment()

from autoprune.evaluation.recalibrate import recalibrate_batchnorm  # noqa: E402
from autoprune.evaluation.renormalize import renormalize_batchnorm  # noqa: E402
from autoprune.pruning.prune import uniform_plan  # noqa: E402
from benchmarks.lib.short_fine_tunes import DEEP_NAME, Bench, deep_plan  # noqa: E402

NAME = "measured_norms"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("model", type=Path, nargs="?", default=demo_checkpoint())
    arguments.add_argument("data", type=Path, nargs="?")
    arguments.add_argument("--name", default="demo", help="of the model, in the table")
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--ratios", type=float, nargs="+", default=[0.30, 0.45])
    arguments.add_argument("--epochs", type=int, help="of the fine-tune; the search's if left out")
    arguments.add_argument("--save", action="store_true", help="write the results file")
    asked = arguments.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(asked.model, asked.data or demo_data_yaml(), Path(folder))
        widths = bench.pruner.widths
        plans = {f"uniform {ratio:.2f}": uniform_plan(widths, ratio) for ratio in asked.ratios}
        for name, plan in (plans | {DEEP_NAME: deep_plan(widths)}).items():
            pruned = bench.pruner.prune(plan)
            untrained = bench.map_of(pruned, "val")
            renormalize_batchnorm(pruned, bench.images, bench.imgsz)
            row: dict[str, Any] = {"plan": name, "untrained": untrained, "as_trained": []}
            row["measured_again"] = []
            for seed in range(asked.seeds):
                tuned = bench.trained(pruned, untrained, seed, asked.epochs)
                row["as_trained"].append(bench.scores(tuned.module))
                again = copy.deepcopy(tuned.module)
                recalibrate_batchnorm(again, bench.images, bench.imgsz)
                row["measured_again"].append(bench.scores(again))
                row["epochs"] = tuned.epochs
                last = {key: row[key][-1] for key in ("as_trained", "measured_again")}
                print(f"{asked.name}, {name}, seed {seed}: {untrained}, {last}", flush=True)
            rows.append(row)
    found = {"model": asked.name, "dense": bench.dense, "seeds": asked.seeds, "plans": rows}
    if asked.save:
        file = RESULTS / f"{NAME}.json"
        known = json.loads(file.read_text())["models"] if file.exists() else []
        others = [each for each in known if each["model"] != asked.name]
        content = {
            "claim": "batch norms measured again after the short fine-tune",
            "models": [*others, found],
            **provenance("torch", "ultralytics"),
        }
        print(f"written: {save_results(NAME, content).name}")


if __name__ == "__main__":
    main()
