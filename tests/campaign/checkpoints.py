"""Checkpoints as people have them: sound ones of every kind, and broken ones."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from ultralytics import YOLO

from autoprune import prune_detection_model
from autoprune.demo.bundle import demo_checkpoint
from autoprune.evaluation.class_head import fit_classes
from autoprune.evaluation.inside.stock import stock_model

Make = Callable[[Path], Path]
_FAMILIES = (
    "yolov3-tiny", "yolov5n", "yolov6n", "yolov8n-p2", "yolov8n-ghost", "yolov9t", "yolo11n",
    "yolo12n", "yolo26n", "yolo26n-p2",
)  # fmt: skip


def _demo() -> Any:
    return YOLO(str(demo_checkpoint()))


def _store(folder: Path, model: Any, name: str = "best.pt", **more: Any) -> Path:
    arguments = {"imgsz": 64, "task": "detect"}
    content = {"model": copy.deepcopy(model), "ema": None, "train_args": arguments, **more}
    torch.save(content, folder / name)
    return folder / name


def _changed(change: Callable[[Any], None]) -> Make:
    """The demo's model with something done to it."""

    def make(folder: Path) -> Path:
        model = _demo().model.float()
        change(model)
        return _store(folder, model)

    return make


def _named(names: Any) -> Make:
    return _changed(lambda model: setattr(model, "names", names))


def _file(name: str) -> Make:
    def make(folder: Path) -> Path:
        return Path(shutil.copy(demo_checkpoint(), folder / name))

    return make


def _bytes(spoil: Callable[[bytes], bytes]) -> Make:
    def make(folder: Path) -> Path:
        (folder / "best.pt").write_bytes(spoil(demo_checkpoint().read_bytes()))
        return folder / "best.pt"

    return make


def _stock(name: str = "yolov8n", channels: int = 3, classes: int = 8) -> Make:
    def make(folder: Path) -> Path:
        return _store(folder, stock_model(f"{name}.yaml", channels, classes))

    return make


def _ema_only(folder: Path) -> Path:
    model = _demo().model
    torch.save({"model": None, "ema": model, "train_args": {"imgsz": 64}}, folder / "best.pt")
    return folder / "best.pt"


def _unstripped(folder: Path) -> Path:
    model = _demo().model.float()
    optimizer = torch.optim.AdamW(model.parameters()).state_dict()
    more = {"ema": model, "optimizer": optimizer, "epoch": 3, "best_fitness": 0.5, "updates": 9}
    return _store(folder, model, "last.pt", **more)


def _namespace(folder: Path) -> Path:
    model = _demo().model
    model.args = SimpleNamespace(imgsz=64, task="detect")
    return _store(folder, model)


def _fused(folder: Path) -> Path:
    return _store(folder, _demo().model.float().fuse(verbose=False))


def _pruned_twice(folder: Path) -> Path:
    once = prune_detection_model(str(demo_checkpoint()), 0.25)
    once.save(folder / "once.pt")
    prune_detection_model(folder / "once.pt", 0.25).save(folder / "best.pt")
    return folder / "best.pt"


def _half(model: Any) -> None:
    model.half()


def _frozen(model: Any) -> None:
    model.requires_grad_(False)


def _no_scales(model: Any) -> None:
    model.yaml.pop("scales", None)
    model.yaml.pop("scale", None)


def _variance(model: Any) -> None:
    norm = model.model[2].m[0].cv1.bn
    scale = ((1e8 + norm.eps) / (norm.running_var[0] + norm.eps)) ** 0.5
    norm.running_var[0] = 1e8
    norm.weight.data[0] *= scale


def _large_weights(model: Any) -> None:
    block = model.model[2].m[0].cv1
    block.conv.weight.data *= 1e6
    block.bn.running_mean *= 1e6
    block.bn.weight.data /= 1e6


def _denormal(model: Any) -> None:
    weight = model.model[4].m[0].cv1.conv.weight.data
    weight[torch.rand_like(weight) < 0.3] = 1e-40


def _nan(model: Any) -> None:
    model.model[3].conv.weight.data[0, 0] = torch.nan


def _act(act: nn.Module) -> Callable[[Any], None]:
    return lambda model: setattr(model.model[6].cv2, "act", act)


def _norm(norm: nn.Module) -> Callable[[Any], None]:
    return lambda model: setattr(model.model[6].cv2, "bn", norm)


def _shared(model: Any) -> None:
    model.model[6].m[1] = model.model[6].m[0]


def _sync(model: Any) -> None:
    block = model.model[6].cv2
    block.bn = nn.SyncBatchNorm.convert_sync_batchnorm(block.bn)


def _one_class(model: Any) -> None:
    fit_classes(model, {0: "thing"})


SOUND: dict[str, Make] = {
    "as shipped": _file("best.pt"),
    "ema only": _ema_only,
    "unstripped": _unstripped,
    "fused": _fused,
    "half": _changed(_half),
    "frozen": _changed(_frozen),
    "without scales": _changed(_no_scales),
    "pruned twice": _pruned_twice,
    "one class": _changed(_one_class),
    "601 classes": _stock(classes=601),
    "one channel": _stock(channels=1),
    "four channels": _stock(channels=4),
    "names twice": _named(dict.fromkeys(range(8), "thing")),
    "names from 1": _named({index + 1: f"n{index}" for index in range(8)}),
    "names as a list": _named([f"n{index}" for index in range(8)]),
    "names no, yes and 1": _named(
        dict(enumerate(["no", "yes", "1", "", " ", "ä", "x" * 300, "'"]))
    ),
    "called yolov5n": _file("yolov5n.pt"),
    "called yolov3-tiny": _file("my yolov3-tiny's #1 %20.pt"),
    "in capitals": _file("BEST.PT"),
    "a variance beyond half": _changed(_variance),
    "weights beyond half": _changed(_large_weights),
    "denormal weights": _changed(_denormal),
    "synchronized norm": _changed(_sync),
    "slopes by channel": _changed(_act(nn.PReLU(128))),
    "group norm": _changed(_norm(nn.GroupNorm(8, 128))),
    "instance norm": _changed(_norm(nn.InstanceNorm2d(128, affine=True))),
    "norm without scale": _changed(_norm(nn.BatchNorm2d(128, affine=False))),
    "a convolution in the activation": _changed(
        _act(nn.Sequential(nn.SiLU(), nn.Conv2d(128, 128, 1)))
    ),
    "a block used twice": _changed(_shared),
    **{name: _stock(name) for name in _FAMILIES},
}

BROKEN: dict[str, Make] = {
    "empty": _bytes(lambda _: b""),
    "cut off": _bytes(lambda content: content[: len(content) // 2]),
    "a flipped byte": _bytes(
        lambda content: (
            content[: len(content) // 2]
            + bytes([content[len(content) // 2] ^ 1])
            + content[len(content) // 2 + 1 :]
        )
    ),
    "args as a namespace": _namespace,  # a class that only --trust-checkpoint loads
    "nan": _changed(_nan),
}
