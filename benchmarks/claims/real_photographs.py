"""Claim: on real photographs the search finds better plans than one ratio for all layers.

    python benchmarks/claims/real_photographs.py DATA.yaml --source TEXT [--imgsz 320]
        [--epochs 60] [--shares 0.6 0.4] [--seeds 0] [--timeout 1500] [--folder DIR] [--save]

A yolov8n is trained on the data, from the demo's checkpoint, because nothing is downloaded; an
interrupted training goes on. Then each share of its latency is searched for, as a user would:
`autoprune search --speedup 1/share`. Training takes an hour on two cores for 200 photographs; let
nothing else run during the searches. The data set is not part of the project: --source says where
it is from.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import checkout  # noqa: F401

from autoprune.api.pruning import fine_tune_pruned, load
from autoprune.demo.bundle import demo_checkpoint
from benchmarks.lib.provenance import provenance, save_results
from benchmarks.lib.user_search import search_share

TRAINING: dict[str, Any] = {"batch": 16, "optimizer": "AdamW", "lr0": 0.001, "workers": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--source", required=True, help="where the photographs are from")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.6, 0.4])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--timeout", type=float, default=1500.0, help="s, of each search")
    parser.add_argument("--folder", type=Path, default=Path("studies/real-photographs"))
    parser.add_argument("--save", action="store_true", help="write the results file")
    asked = parser.parse_args()
    dense = trained(asked.data, asked.folder, asked.imgsz, asked.epochs)
    rows = [
        searched(dense, asked.data, share, seed, asked.timeout, asked.folder)
        for share in asked.shares
        for seed in asked.seeds
    ]
    content = {
        "claim": "real photographs",
        "source": asked.source,
        "imgsz": asked.imgsz,
        "epochs": asked.epochs,
        "timeout_s": asked.timeout,
        "rows": rows,
        **provenance("torch", "ultralytics", "optuna", "onnxruntime"),
    }
    if asked.save:
        print(f"written: {save_results('real_photographs', content)}")


def trained(data: Path, folder: Path, imgsz: int, epochs: int) -> Path:
    """The dense model; one that is there is not trained again."""
    file = folder / f"yolov8n-{data.resolve().parent.name}-{imgsz}px-{epochs}.pt"
    if not file.exists():
        settings = {**TRAINING, "epochs": epochs, "imgsz": imgsz}
        model = load(demo_checkpoint())
        fine_tune_pruned(model, data, settings, file.with_suffix(".training"), print).save(file)
    return file


def searched(
    dense: Path, data: Path, share: float, seed: int, timeout_s: float, folder: Path
) -> dict[str, Any]:
    """One search, as a row."""
    studies = folder / f"share-{share:g}-seed{seed}"
    row = search_share(dense, data, share, seed, timeout_s, studies)
    print(f"{share:g} of dense, seed {seed}: {row['best']}, uniform {row['uniform']}", flush=True)
    return row


if __name__ == "__main__":
    main()
