"""Every proved model the whole way: `python -m tests.campaign.models [NAME ...]`, 15 minutes.

Pruned by 0.3, saved, and opened by plain Ultralytics, which predicts, validates and exports (ONNX,
TorchScript) and refuses to train; opened by autoprune it trains an epoch with its shape kept. It
prints a line for each model, and ends with the number of those that failed as exit code.
"""

from __future__ import annotations

import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from autoprune.evaluation.quiet import prepare_environment

prepare_environment()

import pytest  # noqa: E402
import torch  # noqa: E402
from ultralytics import YOLO  # noqa: E402

from autoprune import load, prune_detection_model  # noqa: E402
from autoprune.evaluation.inside.stock import stock_model  # noqa: E402
from autoprune.evaluation.inside.trainer import conv_shapes  # noqa: E402
from autoprune.evaluation.model_task import model_task  # noqa: E402
from tests.evaluation.task_data import KEYPOINTS, NAMES, write_task_set  # noqa: E402
from tests.families.test_every_model import MODELS  # noqa: E402

SIZE = 128  # px, a multiple of P6's stride
QUIET: dict[str, Any] = {"imgsz": SIZE, "device": "cpu", "workers": 0, "plots": False}


def main() -> None:
    failed = 0
    with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
        for name in sys.argv[1:] or MODELS:
            try:
                tried(name, Path(folder))
            except Exception:
                failed += 1
                print(f"{name}: {traceback.format_exc(limit=-3)}", flush=True)
            else:
                print(f"{name}: as it should be", flush=True)
    sys.exit(failed)


def tried(name: str, folder: Path) -> None:
    """Do it all with one model; whatever is wrong is an exception."""
    torch.manual_seed(0)
    task_name = name.partition("-")[2]
    model: Any = stock_model(f"{name}.yaml", 3, 2, KEYPOINTS if task_name == "pose" else None)
    model.names, task = dict(enumerate(NAMES)), model_task(model).name
    data = folder / task / "data.yaml"
    if not data.exists():
        write_task_set(data.parent, task, 8)
    source = folder / f"{name}.pt"
    torch.save({"model": model, "train_args": {"imgsz": SIZE, "task": task}}, source)
    pruned, file = prune_detection_model(source, 0.3), folder / f"{name}-small.pt"
    pruned.save(file)
    shapes = conv_shapes(pruned.model)
    plain = YOLO(file)
    assert conv_shapes(plain.model) == shapes != conv_shapes(model)
    (found,) = plain.predict(torch.zeros(1, 3, SIZE, SIZE), verbose=False)
    assert len(found.names) == len(NAMES)
    settings = {**QUIET, "data": str(data), "project": str(folder / "runs"), "verbose": False}
    assert YOLO(file).val(**settings, batch=2).results_dict.keys()
    for more in ({"format": "torchscript"}, {"format": "onnx", "simplify": False}):
        exported = YOLO(file).export(**more, imgsz=SIZE, verbose=False)
        assert Path(exported).exists()
    with pytest.raises(Exception, match="autoprune"):
        YOLO(file).train(**settings, epochs=1, batch=4)
    again = load(file)
    again.train(**settings, epochs=1, batch=4)
    assert conv_shapes(again.model) == shapes


if __name__ == "__main__":
    main()
