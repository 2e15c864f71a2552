"""The recipe of the bundled checkpoint: `python -m autoprune.demo.train_checkpoint OUT_FOLDER`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from autoprune.demo.bundle import CHECKPOINT
from autoprune.demo.dataset import CHECKPOINT_IMAGES, SPLITS, Split, write_detection_set
from autoprune.demo.shapes import GENERATOR_VERSION, IMGSZ_PX

FINAL_IMGSZ_PX = 192  # what the demo runs at: small shapes gain, and the dense model takes longer
COMMON: dict[str, Any] = {
    "batch": 32,
    "optimizer": "SGD",
    "momentum": 0.937,
    "weight_decay": 5e-4,
    "cos_lr": True,
    "mosaic": 0.0,
    "scale": 0.2,
    "translate": 0.1,
    "fliplr": 0.5,
    "flipud": 0.5,
    "degrees": 0.0,
    "hsv_h": 0.02,
    "workers": 0,
    "cache": "ram",
    "amp": False,
    "seed": 0,
    "deterministic": True,
    "plots": False,
    "exist_ok": True,
}
STAGES: tuple[dict[str, Any], ...] = (
    {"imgsz": IMGSZ_PX, "epochs": 24, "lr0": 0.02, "lrf": 0.01, "warmup_epochs": 1},
    {"imgsz": FINAL_IMGSZ_PX, "epochs": 4, "lr0": 0.006, "lrf": 0.02, "warmup_epochs": 0.2},
)


def train_checkpoint(folder: Path) -> Path:
    """Train yolov8n from scratch on the generated set (about 80 minutes on 2 CPU cores).

    Stages that are finished in `folder` are not repeated.

    Args:
        folder: Receives the data, one run per stage and their `weights/best.pt`.

    Returns:
        Path of the trained checkpoint (fp16, no optimizer, no paths), ready to ship.
    """
    import torch
    from ultralytics import YOLO

    def use_all_cores(_trainer: object) -> None:
        torch.set_num_threads(os.cpu_count() or 1)

    splits = SPLITS | {"train": Split(SPLITS["train"].seed, CHECKPOINT_IMAGES)}
    data = write_detection_set(folder / f"checkpoint-data-v{GENERATOR_VERSION}", splits)
    trained = "yolov8n.yaml"
    for number, stage in enumerate(STAGES):
        name = f"stage{number + 1}"
        best = folder.resolve() / name / "weights" / "best.pt"
        if not best.exists():
            model = YOLO(trained)
            model.add_callback("on_train_start", use_all_cores)
            settings = {**COMMON, **stage}
            model.train(data=str(data), project=str(folder.resolve()), name=name, **settings)
        trained = str(best)
    return _without_paths(Path(trained), folder / CHECKPOINT)


def _without_paths(trained: Path, target: Path) -> Path:
    """Keep the weights and what loading needs; training arguments name this machine's folders."""
    import torch

    from autoprune.evaluation.checkpoint import read_checkpoint

    content = read_checkpoint(trained)
    model = content.get("ema") or content["model"]
    arguments = {"task": "detect", "imgsz": FINAL_IMGSZ_PX}
    model.args, model.pt_path = arguments, target.name
    kept = {key: content[key] for key in ("date", "version", "license", "docs")}
    torch.save({**kept, "model": model.half(), "ema": None, "train_args": arguments}, target)
    return target


if __name__ == "__main__":
    print(train_checkpoint(Path(sys.argv[1])))
