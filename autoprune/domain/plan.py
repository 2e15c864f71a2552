"""PruningPlan: layer index -> pruning ratio, its arithmetic, and the per-index YAML."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoprune.errors import PlanError
from autoprune.storage.yaml_io import dump_yaml, load_yaml, write_atomic

Ratio = float | tuple[float, ...] | None
"""One index's entry: a ratio; a head's (boxes, classes) or (boxes, classes, masks, keypoints or
angle); or None (no channels)."""

MOST_ENTRIES = 3

_TOP_LEVEL_KEYS = (
    "prune_ratios",
    "round_to",
    "importance",
    "compensate",
    "calibration",
    "base",
    "classes",
    "nms",
)


@dataclass(frozen=True)
class Calibration:
    """The images whose activations or gradients informed the choice of channels."""

    data: str
    images: int
    seed: int


@dataclass(frozen=True)
class PruningPlan:
    """Which fraction of channels each layer index loses.

    Attributes:
        prune_ratios: Layer index -> ratio in [0, 1), two or three for a head, None for Upsample,
            Concat.
        round_to: Kept widths are rounded up to a multiple of this, never above the dense width.
        importance: Criterion that ranks channels; None leaves the choice to the caller.
        compensate: Whether consumers were corrected for what they lost; None leaves it open.
        calibration: Images the criterion or the compensation used, if any.
        base: Hash of the dense model the plan was written for, if known.
        classes: Class ids of that model that are kept, ascending; None: all.
        nms: Which branch of an end-to-end head it was chosen for: that with NMS, or the other.
    """

    prune_ratios: Mapping[int, Ratio]
    round_to: int = 1
    importance: str | None = None
    compensate: bool | None = None
    calibration: Calibration | None = None
    base: str | None = None
    classes: tuple[int, ...] | None = None
    nms: bool | None = None

    def __post_init__(self) -> None:
        """Refuse values no file could hold either: a plan built in Python is checked as well."""
        for index, entry in self.prune_ratios.items():
            _checked_entry(entry, "plan", f"prune_ratios.{index}")
        _checked_round_to(self.round_to, "plan")

    @classmethod
    def load(cls, path: Path | str) -> PruningPlan:
        """Read a per-index YAML.

        Raises:
            ConfigError: Unreadable or not YAML.
            PlanError: A key or value is wrong; the message names file, key, got, expected.
        """
        return cls.from_mapping(load_yaml(path), str(path))

    @classmethod
    def from_mapping(cls, content: Mapping[Any, Any], where: str = "plan") -> PruningPlan:
        """Check a parsed YAML; `where` names its origin in error messages."""
        for key in content:
            if key not in _TOP_LEVEL_KEYS:
                raise PlanError.of(where, str(key), key, f"one of {', '.join(_TOP_LEVEL_KEYS)}")
        ratios = content.get("prune_ratios")
        if not isinstance(ratios, dict) or not ratios:
            raise PlanError.of(where, "prune_ratios", ratios, "a mapping of layer index to ratio")
        checked: dict[int, Ratio] = {}
        for index, value in ratios.items():
            if not isinstance(index, int) or isinstance(index, bool) or index < 0:
                raise PlanError.of(where, "prune_ratios", index, "a layer index (0, 1, 2, ...)")
            checked[index] = _checked_entry(value, where, f"prune_ratios.{index}")
        return cls(
            prune_ratios=dict(sorted(checked.items())),
            round_to=_checked_round_to(content.get("round_to", 1), where),
            importance=_checked_text(content.get("importance"), where, "importance"),
            compensate=_checked_flag(content.get("compensate"), where, "compensate"),
            calibration=_checked_calibration(content.get("calibration"), where),
            base=_checked_text(content.get("base"), where, "base"),
            classes=_checked_classes(content.get("classes"), where),
            nms=_checked_flag(content.get("nms"), where, "nms"),
        )

    def to_mapping(self) -> dict[str, Any]:
        """The plan as plain data, ready for YAML or JSON; unset optional keys are left out."""
        content: dict[str, Any] = {
            "prune_ratios": {
                index: list(value) if isinstance(value, tuple) else value
                for index, value in self.prune_ratios.items()
            }
        }
        if self.round_to != 1:
            content["round_to"] = self.round_to
        if self.importance is not None:
            content["importance"] = self.importance
        if self.compensate is not None:
            content["compensate"] = self.compensate
        if self.calibration is not None:
            content["calibration"] = {
                "data": self.calibration.data,
                "images": self.calibration.images,
                "seed": self.calibration.seed,
            }
        if self.base is not None:
            content["base"] = self.base
        if self.classes is not None:
            content["classes"] = list(self.classes)
        if self.nms is not None:
            content["nms"] = self.nms
        return content

    def save(self, path: Path | str) -> None:
        """Write the per-index YAML atomically."""
        write_atomic(path, dump_yaml(self.to_mapping()))

    def removes_nothing(self) -> bool:
        """Whether every ratio is zero or None."""
        return not any(any(as_ratios(value)) for value in self.prune_ratios.values())


def as_ratios(value: Ratio) -> tuple[float, ...]:
    """A ratio entry as a tuple: empty for None, one element, or a head's."""
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)


def as_entry(ratios: tuple[float, ...]) -> Ratio:
    """The inverse of `as_ratios`."""
    if not ratios:
        return None
    return ratios[0] if len(ratios) == 1 else ratios


def kept_width(width: int, ratio: float, round_to: int = 1) -> int:
    """Channels that stay: `width - int(width * ratio)`, rounded up to `round_to`, in [1, width].

    The un-rounded rule is the documented form of the per-index YAML.
    """
    kept = max(1, width - int(width * ratio))
    return min(width, math.ceil(kept / round_to) * round_to)


def ratio_for(width: int, kept: int) -> float:
    """The ratio for which `kept_width(width, ratio)` is exactly `kept`.

    `removed / width` alone fails: 22 channels less 15 gives int(22 * (15 / 22)) = 14. The next
    float upwards does not, and is checked here.

    Raises:
        ValueError: `kept` is not in [1, width].
    """
    if not 1 <= kept <= width:
        raise ValueError(f"kept must be in [1, {width}], got {kept}")
    removed = width - kept
    ratio = math.nextafter(removed / width, 1.0) if removed else 0.0
    if kept_width(width, ratio) != kept:
        raise AssertionError(f"ratio {ratio!r} of {width} channels does not keep {kept}")
    return ratio


def _checked_entry(value: Any, where: str, key: str) -> Ratio:
    if value is None:
        return None
    if isinstance(value, (list, tuple)):
        if not 2 <= len(value) <= MOST_ENTRIES:
            raise PlanError.of(where, key, value, "a pair [regression, classification], or three")
        return tuple(
            _checked_ratio(each, where, f"{key}[{position}]") for position, each in enumerate(value)
        )
    return _checked_ratio(value, where, key)


def _checked_ratio(value: Any, where: str, key: str) -> float:
    expected = "a ratio in [0, 1)"
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            pass
        else:
            expected += f" written as a plain decimal (YAML reads {value!r} as text)"
        raise PlanError.of(where, key, value, expected)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise PlanError.of(where, key, value, expected)
    if not 0 <= value < 1:  # also refuses nan
        raise PlanError.of(where, key, value, expected)
    return float(value)


def _checked_round_to(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1024:
        raise PlanError.of(where, "round_to", value, "a whole number from 1 to 1024")
    return value


def _checked_text(value: Any, where: str, key: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise PlanError.of(where, key, value, "text")
    return value


def _checked_flag(value: Any, where: str, key: str) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise PlanError.of(where, key, value, "true or false")
    return value


def _checked_classes(value: Any, where: str) -> tuple[int, ...] | None:
    if value is None:
        return None
    expected = "a list of class ids, each once"
    if not isinstance(value, (list, tuple)) or not value or len(set(map(str, value))) < len(value):
        raise PlanError.of(where, "classes", value, expected)
    for each in value:
        if isinstance(each, bool) or not isinstance(each, int) or each < 0:
            raise PlanError.of(where, "classes", each, expected)
    return tuple(sorted(value))


def _checked_calibration(value: Any, where: str) -> Calibration | None:
    if value is None:
        return None
    if not isinstance(value, dict) or set(value) != {"data", "images", "seed"}:
        raise PlanError.of(where, "calibration", value, "a mapping of data, images and seed")
    data, images, seed = value["data"], value["images"], value["seed"]
    if not isinstance(data, str):
        raise PlanError.of(where, "calibration.data", data, "the path of a data YAML")
    for key, number in (("images", images), ("seed", seed)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise PlanError.of(where, f"calibration.{key}", number, "a whole number")
    return Calibration(data, images, seed)
