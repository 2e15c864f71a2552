"""Seal a pruned model's recipe, so that plain Ultralytics training fails instead of regrowing it.

`YOLO("pruned.pt").train()` rebuilds the network from the YAML stored in the file and copies only
tensors of equal shape, which silently un-prunes. The seal replaces the first layer's name in that
YAML by a message; the rebuild then stops with a KeyError that shows it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import nn

SEAL = (
    "this model is pruned; train it with autoprune.load('FILE.pt').train(...), "
    "which keeps its shape"
)
_KEY = "autoprune"
_ENTRY = "sealed_layer"


def seal(model: nn.Module, provenance: Mapping[str, Any] | None = None) -> None:
    """Seal a pruned DetectionModel in place. Predict, val, export and fuse never read the recipe.

    Args:
        model: The pruned model; sealing it again only updates `provenance`.
        provenance: Plain values to keep with the model, such as the base model's hash.
    """
    yaml = copy.deepcopy(_yaml_of(model))
    kept = dict(yaml.get(_KEY) or {})
    if _ENTRY not in kept:
        kept[_ENTRY] = yaml["backbone"][0][2]
    yaml["backbone"][0][2] = SEAL
    yaml[_KEY] = kept | dict(provenance or {})
    _set_yaml(model, yaml)


def is_sealed(model: nn.Module) -> bool:
    """Whether plain Ultralytics training of this model fails loudly."""
    yaml = getattr(model, "yaml", None)
    return isinstance(yaml, dict) and _ENTRY in (yaml.get(_KEY) or {})


def sealed_info(model: nn.Module) -> dict[str, Any]:
    """The provenance given when sealing; empty for a model that is not sealed."""
    if not is_sealed(model):
        return {}
    return {key: value for key, value in _yaml_of(model)[_KEY].items() if key != _ENTRY}


def _yaml_of(model: nn.Module) -> dict[str, Any]:
    yaml: Any = model.yaml
    assert isinstance(yaml, dict), "a DetectionModel carries its recipe as a dict"
    return yaml


def _set_yaml(model: Any, yaml: dict[str, Any]) -> None:
    model.yaml = yaml
