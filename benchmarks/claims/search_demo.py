"""Does the search beat the best block-aligned uniform plan at equal latency? On the bundled demo.

    python benchmarks/claims/search_demo.py --speedup 1.7 --seeds 0 1 2

One search per seed, default settings. The uniform rival is the mildest block-aligned uniform plan
within the same budget, ratio and rounding tuned by measurement, pruned, fine-tuned and validated
the same way.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import checkout  # noqa: F401

from autoprune import api
from autoprune.domain.config import StudyConfig
from autoprune.domain.goal import Evidence, Goal
from autoprune.domain.record import TrialRecord
from autoprune.storage.study_folder import StudyFolder
from benchmarks.lib.provenance import provenance, save_results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speedup", type=float, default=1.7)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--timeout", type=float, default=420)
    parser.add_argument("--studies", type=Path, default=Path("studies"))
    arguments = parser.parse_args()
    rows = [search_once(arguments, seed) for seed in arguments.seeds]
    print(f"{'seed':>4} {'trials':>6} {'dense':>6} {'uniform':>16} {'best':>16} {'gain':>6}")
    for row in rows:
        uniform = f"{row['uniform_map']:.3f} @{row['uniform_ratio']:.2f}"
        best = f"{row['best_map']:.3f} @{row['best_ratio']:.2f}"
        print(
            f"{row['seed']:>4} {row['trials']:>6} {row['dense_map']:6.3f} {uniform:>16} {best:>16}"
            f" {100 * (row['best_map'] - row['uniform_map']):+6.1f}"
        )
    content = {"speedup": arguments.speedup, "timeout_s": arguments.timeout, "rows": rows}
    save_results("search_demo", content | provenance("optuna", "onnxruntime", "ultralytics"))


def search_once(arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    config = StudyConfig(
        goal=Goal(kind="speedup", value=arguments.speedup),
        seed=seed,
        timeout_s=arguments.timeout,
        reuse=False,
        name=f"bench-demo-{arguments.speedup:g}x-seed{seed}",
    )
    found = api.search(config, studies=arguments.studies)
    folder, dense = found.folder, TrialRecord.load(found.folder.dense / "record.json")
    baselines, limit = folder.baseline_records(), config.goal.against(dense)
    records = [*baselines, *folder.trial_records()]
    uniform = max(
        (r for r in baselines if r.latency and limit.judge_latency(r.latency) >= Evidence.MEASURED),
        key=lambda r: r.map50_95 or 0.0,
    )
    best = next(record for record in records if record.name == found.outcome.best)
    return {
        "seed": seed,
        "trials": len(folder.trial_records()),
        "dense_map": dense.map50_95,
        "uniform_name": uniform.name,
        "uniform_map": uniform.map50_95,
        "uniform_final": _final(folder, uniform),
        "uniform_ratio": uniform.latency.ratio if uniform.latency else None,
        "best_name": best.name,
        "best_map": best.map50_95,
        "best_final": _final(folder, best),
        "best_ratio": best.latency.ratio if best.latency else None,
        "trained": [
            [r.latency.ratio, r.map50_95]
            for r in records
            if r.rungs and r.latency and not r.same_as
        ],
    }


def _final(folder: StudyFolder, record: TrialRecord) -> float | None:
    latest = TrialRecord.load(folder.folder_of(record) / "record.json")
    return latest.final.map50_95 if latest.final else None


if __name__ == "__main__":
    main()
