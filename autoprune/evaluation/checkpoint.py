"""Open a YOLO from a .pt or model .yaml without running or downloading anything."""

from __future__ import annotations

import hashlib
import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from ultralytics import YOLO

from autoprune.errors import ConfigError, UnsupportedModel
from autoprune.evaluation.branches import choose_branch
from autoprune.evaluation.data_yaml import MOST_CLASSES
from autoprune.evaluation.inside.loading import offline, open_yolo, unpickle
from autoprune.evaluation.inside.stock import (
    DOWNLOADING,
    HEADS,
    layer_class,
    plain_task,
    read_recipe,
    task_of,
)
from autoprune.evaluation.unopened import check_unopened
from autoprune.storage.yaml_io import load_yaml

_MOST_CHANNELS = 65536  # and repeats, of one layer of a recipe
_EXPECTED_MODEL = "a detection, segmentation, pose or OBB model of Ultralytics' own classes"
_EXPECTED_FILE = "a .pt checkpoint or a model .yaml such as yolov8n.yaml"
_TRUST_HINT = "if you trust its author, --trust-checkpoint (trust=True) loads it and runs its code"
_PLAIN_ACTIVATION = re.compile(r"(torch\.)?nn\.[A-Za-z0-9]+\([\w\s=.,+-]*\)")


def load_yolo(path: Path | str, *, trust: bool = False, nms: bool | None = None) -> YOLO:
    """Open a YOLO that detects, segments, or finds keypoints or rotated boxes.

    Args:
        path: A .pt file, or a model YAML (a file, or a name Ultralytics ships: `yolov8s-p2.yaml`).
        trust: Unpickle the file without restrictions, which runs whatever code it holds.
        nms: See `choose_branch`.

    Returns:
        The model, float32 and on the CPU. One built from a YAML has random weights.

    Raises:
        ConfigError: Missing, broken, not a model, or refused because it may run code.
        UnsupportedModel: A model of another task, or of classes of one's own.
    """
    where = str(path)
    if "://" in where:
        raise ConfigError.of(where, "", "a web address", f"{_EXPECTED_FILE} on this machine")
    suffix = Path(where).suffix.lower()
    if suffix in {".yaml", ".yml"}:
        yolo = _build(where, trust)
    elif suffix == ".pt":
        yolo = open_yolo(Path(where), read_checkpoint(where, trust=trust))
    else:
        raise ConfigError.of(where, "", suffix or "no file ending", _EXPECTED_FILE)
    choose_branch(yolo.model, nms, where)
    return yolo


def read_checkpoint(path: Path | str, *, trust: bool = False) -> dict[str, Any]:
    """Unpickle a .pt file; unless `trust`, only classes of torch and Ultralytics may occur.

    Returns:
        Ultralytics' checkpoint mapping, with `model` or `ema` holding a DetectionModel.

    Raises:
        ConfigError: Missing, broken or refused; one line, nothing was run or installed.
        UnsupportedModel: As `load_yolo`, or a quantised model.
    """
    file = Path(path)
    if not file.is_file():
        raise ConfigError.of(str(path), "", "no such file", f"{_EXPECTED_FILE} (never downloaded)")
    foreign = set() if trust else check_unopened(file)
    try:
        content = unpickle(file.resolve(), trust=trust)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{path}: refused: it needs the Python module {error.name!r}, expected torch and "
            f"Ultralytics classes alone"
        ) from None
    except Exception as error:
        if not trust and zipfile.is_zipfile(file) and _refused(error):
            holds = f"it holds {min(foreign)} and " if foreign else "it "
            raise ConfigError(
                f"{path}: refused: {holds}may run code when loaded, expected torch and Ultralytics "
                f"classes alone; {_TRUST_HINT}"
            ) from None
        if trust and isinstance(error, AttributeError):  # a class of the program that saved it
            raise ConfigError(
                f"{path}: not loadable here: {' '.join(str(error).split())}, expected classes "
                f"that can be imported"
            ) from None
        raise ConfigError(
            f"{path}: not a loadable checkpoint (empty, truncated or another kind of file), "
            f"expected an Ultralytics .pt"
        ) from None
    module = (content.get("ema") or content.get("model")) if isinstance(content, dict) else None
    if not isinstance(module, nn.Module):
        raise ConfigError.of(str(path), "model", type(module).__name__, "an Ultralytics model")
    _check_task(module, str(path))
    check_finite(module, str(path))
    if content.get("modelopt"):
        raise UnsupportedModel(f"{path}: got a quantised model, expected a float model")
    return dict(content)


def trained_image_size(yolo: YOLO) -> tuple[int, int]:
    """Height and width, in pixels, a model was trained at; 640 if it does not say."""
    size = yolo.overrides.get("imgsz", 640)
    side = max(size) if isinstance(size, (list, tuple)) else int(size)
    return side, side


def model_hash(module: nn.Module) -> str:
    """Identity of a model: names, shapes and values of everything it stores.

    Independent of device, of pickling and of half or single precision storage of equal values.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        plain = tensor.detach().cpu()
        plain = plain.to(torch.float32 if plain.is_floating_point() else torch.int64).contiguous()
        digest.update(f"{name}|{plain.dtype}|{tuple(plain.shape)}\n".encode())
        values = plain.numpy()
        digest.update(values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()[:16]


def check_finite(module: nn.Module, where: str) -> None:
    """Refuse a model with a number that is not one.

    Raises:
        ConfigError: It names the first tensor with nan or infinity.
    """
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            odd = "nan" if torch.isnan(tensor).any() else "infinity"
            raise ConfigError.of(where, name, odd, "finite numbers")


def _refused(error: BaseException) -> bool:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, pickle.UnpicklingError):
            return True
        seen = seen.__cause__
    return False


def _build(where: str, trust: bool) -> YOLO:
    if Path(where).exists():
        load_yaml(where)
    try:
        recipe = read_recipe(where)
        layers = [*recipe["backbone"], *recipe["head"]]
        names = [str(layer[2]) for layer in layers]
    except FileNotFoundError:
        raise ConfigError.of(where, "", "no such file", _EXPECTED_FILE) from None
    except Exception:
        raise ConfigError.of(where, "backbone, head", "no layer list", "a model YAML") from None
    known = {head.__name__ for heads in HEADS.values() for head in heads}
    if names[-1] not in known:
        raise UnsupportedModel(
            f"{where}: got a {task_of(recipe)} model with the head {names[-1]}, "
            f"expected {_EXPECTED_MODEL}"
        )
    _check_sizes(where, recipe, layers)
    if not trust:
        _check_recipe(where, names, recipe.get("activation"))
    try:
        with offline():
            yolo = YOLO(where, task=task_of(recipe))
    except Exception as error:
        text = " ".join(str(error).split())
        raise ConfigError(f"{where}: no model can be built from it: {text}") from None
    _check_task(yolo.model, where)
    return yolo


def _check_sizes(where: str, recipe: dict[str, Any], layers: list[Any]) -> None:
    """Refuse a network that no machine holds, before it is built."""
    classes = recipe.get("nc")
    if isinstance(classes, int) and classes > MOST_CLASSES:
        raise ConfigError.of(where, "nc", classes, f"at most {MOST_CLASSES} classes")
    for number, layer in enumerate(layers):
        for value in _numbers(layer[1:]):
            if value > _MOST_CHANNELS:
                expected = f"numbers up to {_MOST_CHANNELS}"
                raise ConfigError.of(where, f"layer {number}", value, expected)


def _numbers(part: Any) -> Iterator[float]:
    if isinstance(part, (list, tuple)):
        for one in part:
            yield from _numbers(one)
    elif isinstance(part, (int, float)):
        yield part


def _check_recipe(where: str, names: list[str], activation: object) -> None:
    """Ultralytics evaluates `activation` as Python and calls whatever a layer names."""
    for name in names:
        if name in DOWNLOADING:
            raise ConfigError.of(where, "backbone, head", name, "a layer that downloads nothing")
        part = layer_class(name)
        if not (isinstance(part, type) and issubclass(part, nn.Module)):
            raise ConfigError.of(where, "backbone, head", name, "a layer of torch or Ultralytics")
    if activation is not None and not _PLAIN_ACTIVATION.fullmatch(str(activation)):
        raise ConfigError.of(where, "activation", activation, "a torch layer such as nn.SiLU()")


def _check_task(module: nn.Module, where: str) -> None:
    if plain_task(module) is None:
        layers = getattr(module, "model", None)
        head = layers[-1] if isinstance(layers, nn.Sequential) and len(layers) else None
        got = f"{type(module).__name__} with the head {type(head).__name__}"
        raise UnsupportedModel(
            f"{where}: got a {task_of(module)} model ({got}), expected {_EXPECTED_MODEL}"
        )
