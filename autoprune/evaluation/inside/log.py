"""Ultralytics' voice: its logger and progress bars, and the settings and font it looks for."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from ultralytics import SETTINGS, utils
from ultralytics.utils import LOGGER, set_logging

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


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Let Ultralytics log nothing but errors; its progress bars follow the logger's level."""
    level = LOGGER.level
    LOGGER.setLevel(logging.ERROR)
    try:
        yield
    finally:
        LOGGER.setLevel(level)


def speak_again() -> None:
    """Undo YOLO_VERBOSE=0 of the moment when Ultralytics was imported."""
    utils.VERBOSE = True
    set_logging(verbose=True)


@contextlib.contextmanager
def no_font_is_fetched() -> Iterator[None]:
    """Read data YAMLs without the look for Arial, which ends in a download into the user's folder.

    For an Ultralytics whose settings folder is not ours to put a font into.
    """
    from ultralytics.data import utils as data_utils

    stock = data_utils.check_font
    data_utils.check_font = lambda *_: None
    try:
        yield
    finally:
        data_utils.check_font = stock


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
