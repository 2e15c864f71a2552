"""Ultralytics' logger and its settings file."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from ultralytics import SETTINGS
from ultralytics.utils import LOGGER

_TRACKERS = frozenset(
    {"clearml", "comet", "dvc", "mlflow", "neptune", "raytune", "tensorboard", "wandb"}
)


@contextlib.contextmanager
def log_to(stream: TextIO) -> Iterator[None]:
    """Write what Ultralytics logs to `stream` instead of the screen."""
    handlers, level = list(LOGGER.handlers), LOGGER.level
    to_stream = logging.StreamHandler(stream)
    to_stream.setFormatter(logging.Formatter("%(message)s"))
    LOGGER.handlers[:] = [to_stream]
    LOGGER.setLevel(logging.INFO)
    try:
        yield
    finally:
        LOGGER.handlers[:] = handlers
        LOGGER.setLevel(level)


def leave_trackers_alone(is_ours: Callable[[Path], bool]) -> None:
    """Without this, an installed experiment tracker would record every short fine-tune.

    Args:
        is_ours: Whether a folder is autoprune's; a settings file of the user's is not changed.
    """
    if not any(is_ours(folder) for folder in Path(SETTINGS.file).parents):
        return  # Ultralytics was imported before us
    unwanted = {key: False for key in (_TRACKERS | {"sync"}) & set(SETTINGS) if SETTINGS[key]}
    if unwanted:
        SETTINGS.update(unwanted)
