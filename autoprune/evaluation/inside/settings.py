"""Ultralytics' training settings: their names, defaults and kinds of value."""

from __future__ import annotations

from typing import Any

from ultralytics.cfg import check_cfg, get_cfg
from ultralytics.utils import DEFAULT_CFG_DICT


def default_settings() -> dict[str, Any]:
    """Every setting and its default; a copy."""
    return dict(DEFAULT_CFG_DICT)


def default_namespace() -> Any:
    """The defaults as the attributes of one object, as a model's loss reads its gains."""
    return get_cfg()


def why_refused(key: str, value: Any) -> str | None:
    """Ultralytics' reason to refuse the value of a setting, in one line; None if it does not."""
    try:
        check_cfg({key: value})
    except (TypeError, ValueError, SyntaxError) as error:
        return " ".join(str(error).split())
    return None
