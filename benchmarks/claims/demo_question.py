"""Is the demo a real question? What uniform L2 pruning costs there after the default fine-tune.

    python benchmarks/claims/demo_question.py [--ratios 0.3 0.5] [key=value ...]

Extra key=value pairs change the fine-tune, to compare its settings.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import checkout  # noqa: F401
import yaml

from autoprune.evaluation.quiet import prepare_environment, quiet
from benchmarks.lib.provenance import provenance, save_results

prepare_environment()

from autoprune import measure, prune_detection_model  # noqa: E402
from autoprune.demo.bundle import demo_checkpoint  # noqa: E402
from autoprune.demo.dataset import demo_data_yaml  # noqa: E402
from autoprune.demo.train_checkpoint import FINAL_IMGSZ_PX  # noqa: E402
from autoprune.evaluation.checkpoint import load_yolo  # noqa: E402
from autoprune.evaluation.dataset import DataSummary, inspect_data  # noqa: E402
from autoprune.evaluation.fine_tune import fine_tune  # noqa: E402
from autoprune.evaluation.fine_tune_settings import settings_from  # noqa: E402
from autoprune.evaluation.recalibrate import recalibrate_batchnorm  # noqa: E402
from autoprune.evaluation.validate import validate  # noqa: E402
from autoprune.pruning.prune import Pruner, uniform_plan  # noqa: E402

PLANS = Path(__file__).resolve().parents[1] / "plans"
PAIR = ("demo_a.yaml", "demo_b.yaml")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.25, 0.5])
    parser.add_argument("--importance", default="l2")
    parser.add_argument("settings", nargs="*")
    arguments = parser.parse_args()
    changes = dict(pair.split("=", 1) for pair in arguments.settings)
    settings = settings_from({key: yaml.safe_load(value) for key, value in changes.items()})
    model, data = load_yolo(demo_checkpoint()).model, inspect_data(demo_data_yaml())
    pruner = Pruner(model, arguments.importance)
    dense = _map(model, data)
    print(f"dense {dense:.3f}")
    rows: list[dict[str, Any]] = []
    for ratio in arguments.ratios:
        pruned = pruner.prune(uniform_plan(pruner.widths, ratio))
        before, after = _before_and_after(pruned, dense, data, settings)
        rows.append({"ratio": ratio, "recalibrated": before, "fine_tuned": after})
        lost = 100 * (dense - after)
        print(
            f"uniform {ratio:.2f}: recalibrated {before:.3f}, after {settings.epochs} epochs of"
            f" {len(data.train)} images {after:.3f} ({lost:.1f} points lost)"
        )
    if not arguments.settings:
        pair = _equal_latency_pair(dense, data, settings)
        content = {"dense": dense, "importance": arguments.importance, "rows": rows, "pair": pair}
        content["fine_tune"] = settings.as_mapping()
        save_results("demo_question", content | provenance("torch", "ultralytics"))


def _before_and_after(
    module: Any, dense: float, data: DataSummary, settings: Any
) -> tuple[float, float]:
    """mAP50-95 with batch norm recalibrated only, and after the fine-tune a search would do."""
    recalibrate_batchnorm(module, data.train[:256], FINAL_IMGSZ_PX)
    before = _map(module, data)
    with tempfile.TemporaryDirectory() as folder, quiet(Path(folder) / "log.txt"):
        settings = settings.after_losing(1 - before / dense)
        yaml_file = data.training_yaml(Path(folder))
        tuned = fine_tune(module, yaml_file, FINAL_IMGSZ_PX, settings, Path(folder))
    return before, _map(tuned.module, data)


def _equal_latency_pair(dense: float, data: DataSummary, settings: Any) -> list[dict[str, Any]]:
    """Two block-aligned plans of about equal latency that differ in where they prune."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files = [str(demo_checkpoint())]
        for plan in PAIR:
            pruned = prune_detection_model(demo_checkpoint(), prune_yaml=PLANS / plan)
            file = Path(folder) / f"{plan}.pt"
            pruned.save(file)
            files.append(str(file))
            _, after = _before_and_after(pruned.model, dense, data, settings)
            rows.append({"plan": plan, "fine_tuned": after})
        for row, latency in zip(rows, list(measure(files).values())[1:], strict=True):
            row["share_of_dense"] = latency.ratio
            print(f"{row['plan']}: {latency.ratio:.3f} of dense latency, {row['fine_tuned']:.3f}")
    return rows


def _map(module: Any, data: DataSummary) -> float:
    with tempfile.TemporaryDirectory() as folder, quiet(Path(folder) / "log.txt"):
        return validate(module, data, data.selection_images, FINAL_IMGSZ_PX).map50_95


if __name__ == "__main__":
    main()
