"""From a recipe file and flags to a StudyConfig; flags win."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoprune.cli.arguments import class_list
from autoprune.domain.config import StudyConfig
from autoprune.errors import ConfigError
from autoprune.storage.yaml_io import load_yaml

_GOALS = ("budget_ms", "speedup", "max_drop")
_PATHS = ("model", "data", "space")


def study_config(
    recipe: Path | None,
    *,
    goals: Mapping[str, float | None],
    flags: Mapping[str, Any],
    fine_tune: Mapping[str, Any],
) -> StudyConfig:
    """Overlay flags on a recipe and validate the result.

    Args:
        recipe: A YAML with StudyConfig's keys, and one of budget_ms, speedup, max_drop. Its paths
            are relative to its own folder.
        goals: The three goal flags; None where not given.
        flags: Other settings; None where not given.
        fine_tune: Settings of the fine-tune; they win over the recipe's, key by key.

    Raises:
        ConfigError: A wrong key or value, or not exactly one goal.
    """
    values = _recipe_values(recipe) if recipe else {}
    where = str(recipe) if recipe else "arguments"
    given = {key: value for key, value in goals.items() if value is not None}
    if not given:
        given = {key: values[key] for key in _GOALS if key in values}
    for key in _GOALS:
        values.pop(key, None)
    if len(given) != 1:
        got = " and ".join(given) or "none of them"
        expected = "exactly one of --budget-ms, --speedup and --max-drop"
        raise ConfigError(f"{where}: goal: got {got}, expected {expected}")
    kind, amount = next(iter(given.items()))
    if fine_tune:
        values["fine_tune"] = {**(values.get("fine_tune") or {}), **fine_tune}
    values |= {key: value for key, value in flags.items() if value is not None}
    return StudyConfig.of(values | {"goal": {"kind": kind, "value": amount}}, where)


def _recipe_values(recipe: Path) -> dict[str, Any]:
    values = {key: value for key, value in load_yaml(recipe).items() if value is not None}
    if "timeout" in values:  # the flag's name
        values["timeout_s"] = values.pop("timeout")
    if "protect" in values:
        protect = values["protect"]
        values["protect"] = protect if isinstance(protect, list) else str(protect).split(",")
    if isinstance(values.get("classes"), (str, int)):
        values["classes"] = class_list(str(values["classes"]))
    if "goal" in values:
        raise ConfigError.of(str(recipe), "goal", "goal", f"one of {', '.join(_GOALS)}")
    if not isinstance(values.get("fine_tune", {}), dict):
        raise ConfigError.of(str(recipe), "fine_tune", values["fine_tune"], "a mapping")
    for key in _PATHS:
        if isinstance(values.get(key), str):
            values[key] = recipe.parent / values[key]
    return values
