"""Read checkpoints as Ultralytics does, without what it runs, installs or downloads."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.nn import tasks
from ultralytics.utils.torch_utils import strip_optimizer

from autoprune.evaluation.inside.settings import default_settings


def unpickle(path: Path, *, trust: bool) -> Any:
    """The content of a .pt file; unless `trust`, only classes of torch and Ultralytics may occur.

    Args:
        path: Absolute: Ultralytics deletes and downloads again a broken file of a known name.
        trust: Read without restrictions.

    Raises:
        ModuleNotFoundError: It names a module that is not installed; nothing is installed.
        Exception: It is broken, or (an UnpicklingError among the causes) refused.
    """
    if trust:  # not torch_safe_load: without restrictions it pip-installs the modules a file names
        return torch.load(path, map_location="cpu", weights_only=False)
    with _plain_name(path) as plain:
        return tasks.torch_safe_load(str(plain), safe_only=True)[0]


def open_yolo(path: Path, content: dict[str, Any]) -> YOLO:
    """Make the YOLO that `YOLO(path)` would be, from content that is already in memory."""

    class _Opened(YOLO):
        def _load(self, weights: str, task: str | None = None) -> None:
            del weights, task
            module = content.get("ema") or content["model"]
            self.model, self.ckpt = _revive(module, content, path), content
            self.task = "detect"
            self.overrides = self.model.args = self._reset_ckpt_args(self.model.args)
            self.ckpt_path = self.overrides["model"] = self.model_name = str(path)
            self.overrides["task"] = self.task

    yolo = _Opened(str(path))
    yolo.__class__ = YOLO
    return yolo


def is_finished_training(content: dict[str, Any]) -> bool:
    """Whether a checkpoint's last epoch was trained; its optimizer is dropped after that."""
    epochs = int(content["train_args"]["epochs"])
    return content.get("optimizer") is None or int(content["epoch"]) + 1 >= epochs


def without_optimizer(path: Path, result: Path) -> None:
    """Write a checkpoint of a training as Ultralytics leaves it at the end: small, fp16, EMA."""
    strip_optimizer(path, str(result))


def _revive(module: nn.Module, content: dict[str, Any], path: Path) -> nn.Module:
    model: Any = module.float()
    model.args = {**default_settings(), **(content.get("train_args") or {})}
    model.pt_path = str(path)
    model.task = "detect"
    for part in model.modules():
        if hasattr(part, "inplace"):
            part.inplace = True
        elif isinstance(part, nn.Upsample):
            part.recompute_scale_factor = None
    model.eval()
    return module


@contextlib.contextmanager
def _plain_name(path: Path) -> Iterator[Path]:
    """The file under a name that Ultralytics leaves alone: it strips apostrophes and spaces."""
    if str(path) == str(path).strip().replace("'", ""):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="autoprune-load-") as folder:
        plain = Path(folder) / f"model{path.suffix}"
        try:
            plain.symlink_to(path)
        except OSError:  # Windows, without the right to
            shutil.copyfile(path, plain)
        yield plain
