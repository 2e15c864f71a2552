"""Claim: other families prune as YOLOv8 does, with the same engine and no rule of their own.

    python benchmarks/claims/other_families.py yolo11n yolo26n [--epochs 20] [--images 2400]
        [--shares 0.6 0.45] [--timeout 460] [--folder DIR] [--only train|quality|search|as-long]
        [--label TEXT] [--save]

Each stock model is trained from random weights on the demo's generated images, at 128 px and then
at 192, for an hour on a core, since nothing is downloaded. Then one ratio for all indices is pruned
without training, by obs and compensation, by L2 and at random, batch norms recalibrated for the
two; and each share of the dense latency is searched for, as a user would; where a search had no
time to train a uniform plan, it is continued for that. Where the uniform plan saw more images in
its fine-tune than the plan found, that one is trained again for as many epochs (as-long: of the
searches that are in the folder and in the results file). Let nothing else run during the searches.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import checkout  # noqa: F401

from autoprune.evaluation.quiet import prepare_environment

prepare_environment()

from ultralytics import YOLO  # noqa: E402

from autoprune.demo.dataset import SPLITS, Split, write_detection_set  # noqa: E402
from autoprune.demo.train_checkpoint import COMMON, FINAL_IMGSZ_PX, STAGES  # noqa: E402
from autoprune.domain.record import SHORT, TrialRecord  # noqa: E402
from autoprune.evaluation.checkpoint import load_yolo  # noqa: E402
from autoprune.evaluation.dataset import inspect_data  # noqa: E402
from autoprune.evaluation.model_task import model_task  # noqa: E402
from autoprune.evaluation.recalibrate import recalibrate_batchnorm  # noqa: E402
from autoprune.evaluation.training_loss import sample_images  # noqa: E402
from autoprune.evaluation.validate import validate  # noqa: E402
from autoprune.pruning.prune import Pruner, uniform_plan  # noqa: E402
from autoprune.search.context.calibration_images import calibration_images  # noqa: E402
from autoprune.search.learn.calibration import calibrate  # noqa: E402
from autoprune.storage.study_folder import StudyFolder  # noqa: E402
from benchmarks.lib.masks import write_mask_set  # noqa: E402
from benchmarks.lib.provenance import RESULTS, provenance, save_results  # noqa: E402
from benchmarks.lib.short_fine_tunes import Bench  # noqa: E402
from benchmarks.lib.user_search import search_share, with_uniform  # noqa: E402

RATIOS = (0.15, 0.30, 0.45)
METHODS = (("obs, compensated", "obs", True), ("l2", "l2", False), ("random", "random", False))
SEED = 7
_TRAINING = ("epochs", "train_images")  # results of another training are not kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", help="stock models, such as yolo11n")
    parser.add_argument("--epochs", type=int, default=20, help="of the first stage")
    parser.add_argument("--images", type=int, default=2400)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.6, 0.45])
    parser.add_argument("--timeout", type=float, default=460.0, help="s, of each search")
    parser.add_argument("--folder", type=Path, default=Path("studies/other-families"))
    parser.add_argument("--only", choices=("train", "quality", "search", "as-long"))
    parser.add_argument("--label", help="of one model's row: another training of it, say")
    parser.add_argument("--save", action="store_true", help="write the results file")
    asked = parser.parse_args()
    rows = []
    for name in asked.models:
        data = data_yaml(name, asked.folder, asked.images)
        dense = trained(name, data, asked.folder, asked.epochs)
        row: dict[str, Any] = {
            "model": asked.label or name,
            "epochs": asked.epochs,
            "train_images": asked.images,
        }
        if asked.only in (None, "quality"):
            row |= quality(dense, data)
            print(name, row, flush=True)
        if asked.only in (None, "search"):
            row["searches"] = [
                searched(dense, data, share, asked.timeout, asked.folder) for share in asked.shares
            ]
        if asked.only in (None, "search", "as-long"):
            row["searches"] = [
                search | as_long(dense, data, search, asked.folder)
                for search in row.get("searches")
                or _known_rows().get(row["model"], {}).get("searches", ())
            ]
        rows.append(row)
    if asked.save:
        content = {
            "claim": "other families",
            "imgsz": FINAL_IMGSZ_PX,
            "rows": _added(rows),
            **provenance("torch", "ultralytics", "optuna", "onnxruntime"),
        }
        print(f"written: {save_results('other_families', content)}")


def _added(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the results file with what is new in these, model by model, share by share."""
    found = _known_rows()
    for row in rows:
        same = found.get(row["model"], {})
        kept = same if all(same.get(key) == row[key] for key in _TRAINING) else {}
        merged = found[row["model"]] = {**kept, **row}
        if "searches" in merged:
            both = [*kept.get("searches", ()), *row.get("searches", ())]
            by_share = {search["share"]: search for search in both}
            merged["searches"] = [by_share[share] for share in sorted(by_share, reverse=True)]
    return list(found.values())


def _known_rows() -> dict[str, dict[str, Any]]:
    """Model -> its row in the results file."""
    file = RESULTS / "other_families.json"
    known = json.loads(file.read_text())["rows"] if file.exists() else []
    return {row["model"]: row for row in known if "epochs" in row}


def data_yaml(name: str, folder: Path, images: int) -> Path:
    """The demo's kind of images, more of them to train on; with masks for a model that has them."""
    splits = SPLITS | {"train": Split(SEED, images)}
    if name.endswith("-seg"):
        return write_mask_set(folder.resolve() / f"masks-{images}", splits)
    return write_detection_set(folder.resolve() / f"data-{images}", splits)


def trained(name: str, data: Path, folder: Path, epochs: int) -> Path:
    """The dense model, by the demo's two stages in batches of 16; what is there is not repeated."""
    start = f"{name}.yaml"
    for number, stage in enumerate(({**STAGES[0], "epochs": epochs}, STAGES[1])):
        run = folder.resolve() / f"{name}-{epochs}-{number + 1}"
        best = run / "weights" / "best.pt"
        if not best.exists():
            settings = {**COMMON, **stage, "batch": 16, "lr0": stage["lr0"] / 2}
            YOLO(start).train(data=str(data), project=str(run.parent), name=run.name, **settings)
        start = str(best)
    return Path(start)


def quality(dense: Path, data: Path) -> dict[str, Any]:
    """mAP50-95 on val without training, of every method at every ratio."""
    module = load_yolo(dense).model
    described = inspect_data(data, task=model_task(module).name)
    images = calibration_images(FINAL_IMGSZ_PX)
    known = calibrate(module, described, FINAL_IMGSZ_PX, images)
    sample, val = sample_images(described, images, seed=0), described.val
    rows = []
    for label, importance, compensated in METHODS:
        pruner = Pruner(module, importance, known if compensated else None, compensated)
        scores = {}
        for ratio in RATIOS:
            pruned = pruner.prune(uniform_plan(pruner.widths, ratio))
            if not compensated:
                recalibrate_batchnorm(pruned, sample, FINAL_IMGSZ_PX)
            found = validate(pruned, described, val, FINAL_IMGSZ_PX)
            scores[f"{ratio:g}"] = round(found.map50_95, 4)
        rows.append({"method": label, "map50_95": scores})
    dense_map = round(validate(module, described, val, FINAL_IMGSZ_PX).map50_95, 4)
    metric = model_task(module).metric
    return {"metric": metric, "dense_map50_95": dense_map, "untrained": rows}


def searched(
    dense: Path, data: Path, share: float, timeout_s: float, folder: Path
) -> dict[str, Any]:
    """One search, as a row."""
    name = dense.parents[1].name
    studies = folder / f"{name}-{share:g}"
    row = {"timeout_s": timeout_s} | search_share(dense, data, share, 0, timeout_s, studies)
    if row["uniform"] is None:  # there was no time for it
        row["uniform"] = with_uniform(dense, data, share, 0, timeout_s, studies)
    print(f"{name} at {share:g}: {row['best']}, uniform {row['uniform']}", flush=True)
    return row


def as_long(dense: Path, data: Path, search: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The plan that a search found, fine-tuned for as many epochs as the uniform plan was.

    Nothing where it was, or where there is no such plan or study.
    """
    place = folder / f"{dense.parents[1].name}-{search['share']:g}"
    studies = [StudyFolder(file.parent) for file in place.glob("*/study.yaml")]
    records = {record.name: record for study in studies for record in _records(study)}
    best, uniform = (
        records.get(str((search[side] or {}).get("name"))) for side in ("best", "uniform")
    )
    if best is None or uniform is None:
        return {}
    own, other = best.at_rung(SHORT), uniform.at_rung(SHORT)
    if own is None or other is None or own.images_seen >= other.images_seen:
        return {}
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(dense, data, Path(scratch))
        pruned = bench.pruner.prune(best.pruning_plan())
        untrained = bench.map_of(pruned, "val")
        tuned = bench.trained(
            pruned, untrained, 0, epochs=other.epochs, frozen_norms=own.frozen_norms
        )
        found = {"epochs": other.epochs, "untrained": untrained, **bench.scores(tuned.module)}
    print(f"{best.name} for {search['share']:g}, as long as {uniform.name}: {found}", flush=True)
    return {"as_long": found}


def _records(study: StudyFolder) -> list[TrialRecord]:
    return [*study.baseline_records(), *study.trial_records()]


if __name__ == "__main__":
    main()
