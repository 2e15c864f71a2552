"""Structure of a model: all that decides where its channels go, in a few words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

_NO_SETTINGS = frozenset(
    {
        "training", "_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "args",
        "names", "yaml", "pt_path", "np", "task", "criterion", "loss", "stride", "overrides",
        "shape", "anchors", "strides",
    }
)  # fmt: skip
"""Of modules: what is told apart, and what Ultralytics notes beside a model or between runs."""
_HOOKS = frozenset(
    {
        "_backward_pre_hooks", "_backward_hooks", "_forward_hooks", "_forward_hooks_with_kwargs",
        "_forward_hooks_always_called", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs",
        "_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks",
        "_load_state_dict_post_hooks", "_is_full_backward_hook",
    }
)  # fmt: skip


def structure_of(model: nn.Module) -> tuple[str, list[object]]:
    """Tell models apart by classes, settings, shapes, hooks, and what is used twice.

    Returns:
        A digest, and the objects that are known in it by their identity: as long as they live, an
        equal digest is of the same structure.
    """
    objects: list[object] = []
    text = "\n".join(_lines(model, objects))
    return hashlib.sha256(text.encode()).hexdigest(), objects


def _lines(model: nn.Module, objects: list[object]) -> Iterator[str]:
    first: dict[int, str] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        settings = []
        for key, value in vars(module).items():
            if key in _NO_SETTINGS or (key in _HOOKS and not value):
                continue
            settings.append(f"{key}={_shown(value, objects)}")
        same_as = first.setdefault(id(module), name)
        yield f"{name} {same_as} {_shown(type(module), objects)} {sorted(settings)}"
        own = (module.named_parameters, module.named_buffers)
        for key, tensor in (pair for each in own for pair in each(recurse=False)):
            same_as = first.setdefault(id(tensor), f"{name}.{key}")
            yield f"{name}.{key} {same_as} {tuple(tensor.shape)}"


def _shown(value: object, objects: list[object]) -> str:
    """Plain values by what they are, others by their identity; a tensor by its shape."""
    if isinstance(value, (bool, int, float, str, type(None))):
        return repr(value)
    if isinstance(value, (tuple, list)):
        return f"({', '.join(_shown(each, objects) for each in value)})"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"tensor {tuple(value.shape)}"
    known = getattr(value, "__func__", value)  # of a bound method
    objects.append(known)
    return f"{type(value).__name__} {id(known)}"
