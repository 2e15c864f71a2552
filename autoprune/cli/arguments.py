"""Values on the command line that need more reading than typer gives: pairs, sizes, indices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from autoprune.errors import ConfigError


def check_output(file: Path) -> None:
    """Find out whether a file can be written, before the work that it is for.

    Raises:
        OSError: It cannot; names the file or the folder.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.stem}.part{file.suffix}")
    draft.touch()
    draft.unlink()


def split_overrides(tokens: list[str]) -> tuple[dict[str, Any], int | None]:
    """Split `epochs=3 lr0=0.01` into a mapping; a bare number is the W of `--imgsz H W`."""
    pairs: dict[str, Any] = {}
    width: int | None = None
    for token in tokens:
        key, found, value = token.partition("=")
        if found and key:
            pairs[key] = _typed(value)
        elif token.isdecimal() and width is None:
            width = int(token)
        else:
            raise ConfigError.of("arguments", "", token, "key=value settings of the fine-tune")
    return pairs, width


def _typed(text: str) -> Any:
    """A value as YAML reads it; numbers such as 1e-3, which YAML takes for text, as numbers."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def image_size(text: str | None, width: int | None) -> tuple[int, ...] | None:
    """160, '160 320', 160x320 and 160,320."""
    if text is None:
        if width is not None:
            raise ConfigError.of("arguments", "", str(width), "key=value settings")
        return None
    sides = text.replace("x", " ").replace(",", " ").split() + ([str(width)] if width else [])
    if not all(side.isdecimal() for side in sides) or len(sides) not in (1, 2):
        raise ConfigError.of("--imgsz", "", text, "N, or H W, in pixels")
    return tuple(int(side) for side in sides)


def class_list(text: str | None) -> tuple[int | str, ...] | None:
    """`0,2` as numbers, `person,car` as names."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return tuple(int(part) if part.isdecimal() else part for part in parts)


def layer_indices(text: str | None) -> tuple[int, ...] | None:
    """`0,22` as numbers."""
    return _numbers(text, "--protect", "layer indices such as 0,22")


def device_numbers(text: str | None) -> tuple[int, ...] | None:
    """`0,1` as numbers of GPUs."""
    return _numbers(text, "--devices", "numbers of GPUs such as 0,1")


def _numbers(text: str | None, flag: str, expected: str) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() for part in parts):
        raise ConfigError.of(flag, "", text, expected)
    return tuple(int(part) for part in parts)
