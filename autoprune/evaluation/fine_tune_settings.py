"""FineTuneSettings: how a pruned model is trained shortly, with the user's key=value overrides."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autoprune.errors import ConfigError

_WHERE = "fine-tune"
_OWNED = {
    "data": "--data sets it",
    "model": "--model sets it",
    "imgsz": "--imgsz sets it",
    "task": "it is the model's own",
    "mode": "it is always train",
    "project": "the study's folder is used",
    "name": "the study's folder is used",
    "exist_ok": "the study's folder is used",
    "save": "the search keeps the weights it needs",
    "save_period": "the search keeps the weights it needs",
    "save_dir": "the study's folder is used",
    "resume": "a trial is short and starts anew",
    "pretrained": "a trial starts from the pruned weights",
    "val": "each trial is validated once, at its end",
    "split": "each trial is validated once, at its end",
    "plots": "the report has its own",
    "patience": "a trial trains all its epochs",
    "time": "epochs= sets the length",
    "cfg": "give the keys themselves",
    "fraction": "the search fine-tunes on the whole training split",
    "single_cls": "the model's classes are kept",
    "classes": "the model's classes are kept",
    "distill_model": "the dense model is the teacher; distill=0 to 1 sets its share",
    "compile": "every trial is another network",
    "quantize": "trials are trained as float models",
}
_QUANTIZE = "a file trained so opens only where nvidia-modelopt is installed"

_OPTIMIZERS = ("SGD", "MuSGD", "Adam", "Adamax", "AdamW", "NAdam", "RAdam", "RMSProp")
_MORE = (
    "amp", "cache", "cls_remap", "cos_lr", "deterministic", "dropout", "freeze", "multi_scale",
    "rect", "lrf", "warmup_momentum", "warmup_bias_lr", "box", "cls", "cls_pw", "dfl",
    "degrees", "shear", "perspective", "flipud", "fliplr", "bgr", "mixup", "cutmix", "copy_paste",
    "pose", "kobj", "rle", "angle", "overlap_mask", "mask_ratio",
)  # fmt: skip
# What Ultralytics documents and does not check.
_RANGES: dict[str, tuple[float, float]] = {
    "batch": (1, 65_536),
    "box": (0, 1e6),
    "close_mosaic": (0, 100_000),
    "cls": (0, 1e6),
    "degrees": (-180, 180),
    "dfl": (0, 1e6),
    "epochs": (1, 100_000),
    "nbs": (1, 1_000_000),
    "patience": (0, 1_000_000_000),
    "save_period": (-1, 100_000),
    "seed": (0, 2**32 - 1),  # numpy's
    "shear": (-180, 180),
    "time": (0, 100_000),
    "warmup_epochs": (0, 100_000),
    "workers": (0, 1024),
}
_CACHES = (True, False, None, "ram", "disk")

_INTACT_LR0, _BROKEN_LR0, _BROKEN = 0.0003, 0.001, 0.3


@dataclass(frozen=True)
class FineTuneSettings:
    """Settings of a short fine-tune; names and meanings are Ultralytics'.

    The defaults suit a network that was trained before and lost channels: few epochs, a named
    optimizer (`auto` ignores `lr0`), every batch a step, no mosaic, little augmentation.
    """

    epochs: int = 3
    batch: int = 8
    optimizer: str = "AdamW"
    lr0: float | None = None  # None: by how much the pruning broke, see `after_losing`
    momentum: float = 0.9
    weight_decay: float = 0.0005
    warmup_epochs: float = 0.5
    nbs: int | None = None  # None: the batch size, so that every batch is an optimizer step
    mosaic: float = 0.0
    close_mosaic: int = 0
    hsv_h: float = 0.0
    hsv_s: float = 0.0
    hsv_v: float = 0.0
    translate: float = 0.05
    scale: float = 0.2
    workers: int = 0
    seed: int = 0
    device: str | int | None = None
    # share of the loss that compares with the dense model, 0 to 1; None: only in a longer fine-tune
    distill: float | None = None
    more: Mapping[str, Any] = field(default_factory=dict)  # any other training key

    def after_losing(self, share: float) -> FineTuneSettings:
        """The same settings with a learning rate for a network that lost this share of its mAP.

        One that is almost intact is only shaken by steps that a broken one needs: on the demo,
        0.0003 was best after losing 2 % and 0.001 after losing a third and more.
        """
        if self.lr0 is not None:
            return self
        damage = min(1.0, max(0.0, share) / _BROKEN)
        return dataclasses.replace(self, lr0=_INTACT_LR0 * (_BROKEN_LR0 / _INTACT_LR0) ** damage)

    def as_mapping(self) -> dict[str, Any]:
        """The settings as plain data, to write down and to compare."""
        values = dataclasses.asdict(self)
        more: dict[str, Any] = values.pop("more")
        return values | more

    def as_train_args(self) -> dict[str, Any]:
        """The settings as keyword arguments of `YOLO.train`; a device only if one was given."""
        values: dict[str, Any] = {
            "amp": False,  # its check wants to download a model, and CPUs ignore it
            "deterministic": True,
            "lrf": 0.05,
            "warmup_bias_lr": 0.0,  # the stock 0.1 is for training from scratch
        }
        values |= self.after_losing(0.0).as_mapping()
        del values["distill"]  # ours, not Ultralytics'
        values["nbs"] = self.nbs or self.batch
        if self.device is None:
            del values["device"]
        return values


def settings_from(overrides: Mapping[str, Any]) -> FineTuneSettings:
    """Check the user's key=value pairs against Ultralytics' configuration.

    Args:
        overrides: For example `{"epochs": 5, "lr0": 0.002, "device": 0}`.

    Raises:
        ConfigError: An unknown key, one the search sets itself, or a value of the wrong kind.
    """
    own = {item.name for item in dataclasses.fields(FineTuneSettings)} - {"more"}
    for key, value in overrides.items():
        if key in _OWNED:
            raise ConfigError(f"{_WHERE}: {key}: got {value!r}, expected no value: {_OWNED[key]}")
        if key not in own and key not in _MORE:
            near = difflib.get_close_matches(str(key), [*own, *_MORE], n=1)
            hint = f" (closest match {near[0]})" if near else ""
            raise ConfigError.of(
                _WHERE, str(key), value, f"one of Ultralytics' training keys{hint}"
            )
        _check_value(key, value)
    settings = FineTuneSettings(
        **{key: value for key, value in overrides.items() if key in own},
        more={key: value for key, value in overrides.items() if key not in own},
    )
    if settings.optimizer.lower() not in {name.lower() for name in _OPTIMIZERS}:
        expected = f"one of {', '.join(_OPTIMIZERS)} (auto would ignore lr0)"
        raise ConfigError.of(_WHERE, "optimizer", settings.optimizer, expected)
    return settings


def full_train_args(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Check the settings of a fine-tune at full length; Ultralytics' defaults but `amp` hold.

    Raises:
        ConfigError: An unknown key, one that is set elsewhere, or a value of the wrong kind.
    """
    from autoprune.evaluation.inside.settings import default_settings

    known = default_settings()
    for key, value in settings.items():
        if key in ("data", "model", "project", "name", "task", "mode", "resume", "pretrained"):
            raise ConfigError(f"{_WHERE}: {key}: got {value!r}, expected no value: it is set")
        if key == "quantize" and value is not None:
            raise ConfigError(f"{_WHERE}: {key}: got {value!r}, expected no value: {_QUANTIZE}")
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f" (closest match {near[0]})" if near else ""
            expected = f"one of Ultralytics' training keys{hint}"
            raise ConfigError.of(_WHERE, str(key), value, expected)
        _check_value(key, value)
    # amp's check wants to download a model
    return {"amp": False, "plots": False, **settings}


def _check_value(key: str, value: Any) -> None:
    from autoprune.evaluation.inside.settings import default_settings, why_refused

    if key == "device":
        return  # `choose_device` checks it
    if key == "distill":
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise ConfigError.of(_WHERE, key, value, "a share from 0 to 1")
        return
    if key == "batch" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ConfigError.of(_WHERE, key, value, "a whole number of images")
    if key == "cache" and not any(value is known or value == known != 1 for known in _CACHES):
        raise ConfigError.of(_WHERE, key, value, "True, False, ram or disk")
    if key == "freeze" and not _is_freeze(value):
        raise ConfigError.of(_WHERE, key, value, "how many layers, or a list of their indices")
    stock = default_settings()[key]
    number_wanted = isinstance(stock, (int, float)) and not isinstance(stock, bool)
    if number_wanted and isinstance(value, bool):  # which Python counts as a number
        raise ConfigError.of(_WHERE, key, value, "a number")
    reason = why_refused(key, value)
    if reason is not None:
        raise ConfigError(f"{_WHERE}: {key}: got {value!r}: {reason}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        least, most = _RANGES.get(key, (-math.inf, math.inf))
        if not math.isfinite(value) or not least <= value <= most:
            expected = f"{least:g} to {most:g}" if key in _RANGES else "a finite number"
            raise ConfigError.of(_WHERE, key, value, expected)


def _is_freeze(value: Any) -> bool:
    if value is None:
        return True
    indices = value if isinstance(value, (list, tuple)) else [value]
    return all(type(index) is int and index >= 0 for index in indices)


def check_freeze(value: Any, layers: int) -> None:
    """Refuse to freeze layers that a model does not have, or all of them.

    Args:
        value: The setting `freeze`.
        layers: Layers of the model, its head included.

    Raises:
        ConfigError: As said.
    """
    if value is None:
        return
    if isinstance(value, (list, tuple)):
        wrong, expected = any(index >= layers for index in value), f"indices below {layers}"
    else:
        wrong, expected = value >= layers, f"fewer layers than the model's {layers}"
    if wrong:
        raise ConfigError.of(_WHERE, "freeze", value, expected)
