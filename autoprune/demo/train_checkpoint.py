"""The recipe of the bundled checkpoint: `python -m autoprune.demo.train_checkpoint OUT_FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from autoprune.demo.dataset import CHECKPOINT_IMAGES, SPLITS, Split, write_detection_set
from autoprune.demo.shapes import GENERATOR_VERSION, IMGSZ_PX

EPOCHS = 24


def train_checkpoint(folder: Path) -> Path:
    """Train yolov8n from scratch on the generated set (about an hour on 2 CPU cores).

    Args:
        folder: Receives the data, the run and its `weights/best.pt`.

    Returns:
        Path of the trained checkpoint (fp16, optimizer stripped).
    """
    from ultralytics import YOLO

    splits = SPLITS | {"train": Split(SPLITS["train"].seed, CHECKPOINT_IMAGES)}
    data = write_detection_set(folder / f"checkpoint-data-v{GENERATOR_VERSION}", splits)
    model = YOLO("yolov8n.yaml")
    model.train(
        data=str(data),
        project=str(folder.resolve()),
        name="run",
        exist_ok=True,
        imgsz=IMGSZ_PX,
        epochs=EPOCHS,
        batch=32,
        optimizer="SGD",
        lr0=0.02,
        momentum=0.937,
        weight_decay=5e-4,
        warmup_epochs=1,
        cos_lr=True,
        lrf=0.01,
        mosaic=0.0,
        scale=0.2,
        translate=0.1,
        fliplr=0.5,
        flipud=0.5,
        degrees=0.0,
        hsv_h=0.02,
        workers=0,
        cache="ram",
        amp=False,
        seed=0,
        deterministic=True,
        plots=False,
    )
    return folder / "run" / "weights" / "best.pt"


if __name__ == "__main__":
    print(train_checkpoint(Path(sys.argv[1])))
