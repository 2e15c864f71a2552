"""Read checkpoints as Ultralytics does, without what it runs, installs or downloads."""

from __future__ import annotations

import contextlib
import functools
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.nn import tasks
from ultralytics.utils.torch_utils import strip_optimizer

from autoprune.evaluation.inside.settings import default_settings
from autoprune.evaluation.inside.stock import plain_task
from autoprune.evaluation.sync_norms import without_sync_norms
from autoprune.storage.scratch import scratch_folder

_NETWORK = (socket.AF_INET, socket.AF_INET6)


def unpickle(path: Path, *, trust: bool) -> Any:
    """The content of a .pt file; unless `trust`, only classes of torch and Ultralytics may occur.

    Args:
        path: Absolute.
        trust: Read without restrictions.

    Raises:
        ModuleNotFoundError: It names a module that is not installed; nothing is installed.
        Exception: It is broken, or (an UnpicklingError among the causes) refused.
    """
    if trust:  # not torch_safe_load: without restrictions it pip-installs the modules a file names
        return torch.load(path, map_location="cpu", weights_only=False)
    with _plain_name(path) as plain, offline():
        return tasks.torch_safe_load(str(plain), safe_only=True)[0]


def open_yolo(path: Path, content: dict[str, Any]) -> YOLO:
    """Make the YOLO that `YOLO(path)` would be, from content that is already in memory."""

    class _Opened(YOLO):
        def _load(self, weights: str, task: str | None = None) -> None:
            del weights, task
            module = content.get("ema") or content["model"]
            self.model = without_sync_norms(_revive(module, content, path))
            self.ckpt = content
            self.task = plain_task(module)
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
    model.task = plain_task(module)
    for part in model.modules():
        if hasattr(part, "inplace"):
            part.inplace = True
        elif isinstance(part, nn.Upsample):
            part.recompute_scale_factor = None
    model.eval()
    return module


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """This thread reaches no other machine meanwhile; others do as they like."""
    with _Offline.lock:
        if not _Offline.depth:
            _Offline.put_in()
        _Offline.depth += 1
    before = getattr(_Offline.here, "on", False)
    _Offline.here.on = True
    try:
        yield
    finally:
        _Offline.here.on = before
        with _Offline.lock:
            _Offline.depth -= 1
            if not _Offline.depth:
                _Offline.take_out()


class _Offline:
    """Replaces what opens connections, once for all threads."""

    lock, here, depth = threading.Lock(), threading.local(), 0
    replaced: list[tuple[Any, str, Any]] = []  # noqa: RUF012 (one for the process)

    @classmethod
    def put_in(cls) -> None:
        for owner, name in (
            (socket, "getaddrinfo"),
            (socket.socket, "connect"),
            (socket.socket, "connect_ex"),
        ):
            call = getattr(owner, name)
            cls.replaced.append((owner, name, call))
            setattr(owner, name, cls.guarded(call))

    @classmethod
    def take_out(cls) -> None:
        for owner, name, call in cls.replaced:
            setattr(owner, name, call)
        cls.replaced.clear()

    @classmethod
    def guarded(cls, call: Any) -> Any:
        """The function, refusing in threads that are offline; local sockets stay."""

        @functools.wraps(call)
        def guard(*given: Any, **more: Any) -> Any:
            own = given[0] if given else None
            local = isinstance(own, socket.socket) and own.family not in _NETWORK
            if getattr(cls.here, "on", False) and not local:
                raise OSError("a model is loaded without the network")
            return call(*given, **more)

        return guard


@contextlib.contextmanager
def _plain_name(path: Path) -> Iterator[Path]:
    """The file under a name that Ultralytics leaves alone.

    It strips apostrophes and spaces, takes a `yolov5` or `yolov3` in a name for another file's, and
    deletes and downloads again a broken file of a well-known name.
    """
    with scratch_folder("load") as folder:
        plain = Path(folder) / "model.pt"
        try:
            plain.symlink_to(path)
        except OSError:  # Windows, without the right to
            shutil.copyfile(path, plain)
        yield plain
