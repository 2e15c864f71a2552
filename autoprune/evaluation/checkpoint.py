"""Open a detection model from a .pt or model .yaml without running or downloading anything."""

from __future__ import annotations

import hashlib
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn
from ultralytics import YOLO

from autoprune.errors import ConfigError, UnsupportedModel
from autoprune.evaluation.inside.loading import open_yolo, unpickle
from autoprune.evaluation.inside.stock import (
    is_plain_detector,
    layer_class,
    read_recipe,
    task_of,
)
from autoprune.storage.yaml_io import load_yaml

_EXPECTED_FILE = "a .pt checkpoint or a model .yaml such as yolov8n.yaml"
_TRUST_HINT = "if you trust its author, --trust-checkpoint (trust=True) loads it and runs its code"
_PLAIN_ACTIVATION = re.compile(r"(torch\.)?nn\.[A-Za-z0-9]+\([\w\s=.,+-]*\)")


def load_yolo(path: Path | str, *, trust: bool = False) -> YOLO:
    """Open a YOLO detection model.

    Args:
        path: A .pt file, or a model YAML (a file, or a name Ultralytics ships: `yolov8s-p2.yaml`).
        trust: Unpickle the file without restrictions, which runs whatever code it holds.

    Returns:
        The model, float32 and on the CPU. One built from a YAML has random weights.

    Raises:
        ConfigError: Missing, broken, not a model, or refused because it may run code.
        UnsupportedModel: A model, but not one with a plain detection head.
    """
    where = str(path)
    if "://" in where:
        raise ConfigError.of(where, "", "a web address", f"{_EXPECTED_FILE} on this machine")
    suffix = Path(where).suffix.lower()
    if suffix in {".yaml", ".yml"}:
        return _build(where, trust)
    if suffix == ".pt":
        return open_yolo(Path(where), read_checkpoint(where, trust=trust))
    raise ConfigError.of(where, "", suffix or "no file ending", _EXPECTED_FILE)


def read_checkpoint(path: Path | str, *, trust: bool = False) -> dict[str, Any]:
    """Unpickle a .pt file; unless `trust`, only classes of torch and Ultralytics may occur.

    Returns:
        Ultralytics' checkpoint mapping, with `model` or `ema` holding a DetectionModel.

    Raises:
        ConfigError: Missing, broken or refused; one line, nothing was run or installed.
        UnsupportedModel: Another task than detection, or a quantised model.
    """
    file = Path(path)
    if not file.is_file():
        raise ConfigError.of(str(path), "", "no such file", f"{_EXPECTED_FILE} (never downloaded)")
    try:
        # absolute, because Ultralytics deletes and re-downloads a broken file of a well-known name
        content = unpickle(file.resolve(), trust=trust)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{path}: refused: it needs the Python module {error.name!r}, expected torch and "
            f"Ultralytics classes alone"
        ) from None
    except Exception as error:
        if not trust and zipfile.is_zipfile(file) and _refused(error):
            raise ConfigError(
                f"{path}: refused: it may run code when loaded, expected torch and Ultralytics "
                f"classes alone; {_TRUST_HINT}"
            ) from None
        raise ConfigError(
            f"{path}: not a loadable checkpoint (empty, truncated or another kind of file), "
            f"expected an Ultralytics .pt"
        ) from None
    module = (content.get("ema") or content.get("model")) if isinstance(content, dict) else None
    if not isinstance(module, nn.Module):
        raise ConfigError.of(str(path), "model", type(module).__name__, "an Ultralytics model")
    _check_detection(module, str(path))
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
    if names[-1] != "Detect":
        raise UnsupportedModel(
            f"{where}: got a {task_of(recipe)} model with the head {names[-1]}, "
            f"expected a detection model"
        )
    if not trust:
        _check_recipe(where, names, recipe.get("activation"))
    try:
        yolo = YOLO(where, task="detect")
    except Exception as error:
        text = " ".join(str(error).split())
        raise ConfigError(f"{where}: no model can be built from it: {text}") from None
    _check_detection(yolo.model, where)
    return yolo


def _check_recipe(where: str, names: list[str], activation: object) -> None:
    """Ultralytics evaluates `activation` as Python and calls whatever a layer names."""
    for name in names:
        part = layer_class(name)
        if not (isinstance(part, type) and issubclass(part, nn.Module)):
            raise ConfigError.of(where, "backbone, head", name, "a layer of torch or Ultralytics")
    if activation is not None and not _PLAIN_ACTIVATION.fullmatch(str(activation)):
        raise ConfigError.of(where, "activation", activation, "a torch layer such as nn.SiLU()")


def _check_detection(module: nn.Module, where: str) -> None:
    if not is_plain_detector(module):
        layers = getattr(module, "model", None)
        head = layers[-1] if isinstance(layers, nn.Sequential) and len(layers) else None
        got = f"{type(module).__name__} with the head {type(head).__name__}"
        raise UnsupportedModel(
            f"{where}: got a {task_of(module)} model ({got}), expected a detection model"
        )
