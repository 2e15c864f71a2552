"""no_traces: do heavy work in somebody else's process and leave it as it was found."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import sys
from collections.abc import Iterator
from typing import Any

from autoprune.evaluation.quiet import imported_by_the_caller, prepare_environment

_TORCH_DEFAULT_SEED = 67280421310721  # of a process that never set one


@contextlib.contextmanager
def no_traces(*, silent: bool = True) -> Iterator[None]:
    """Prepare the environment as `prepare_environment` does; put everything back at the end.

    Put back, also after an exception: `os.environ`, `sys.stdout` and `sys.stderr`, the level,
    handlers and propagation of every logger there was, torch's number of threads and deterministic
    mode, and the random states of Python, numpy and torch. Other threads of the process see the
    changes meanwhile, and what they put into `os.environ` is lost.

    Not put back: what was imported stays so. An Ultralytics that was first imported here speaks
    again as after a plain import, but stays offline, installs nothing and keeps its settings in a
    temporary folder until the process ends. One that the caller imported keeps all of its own.

    Works as a decorator too, and nested.

    Args:
        silent: Let Ultralytics say nothing but errors.
    """
    environment, streams, modules = dict(os.environ), (sys.stdout, sys.stderr), set(sys.modules)
    loggers = _loggers()
    restore_random = _random_state()
    foreign = imported_by_the_caller()
    try:
        prepare_environment()
        with contextlib.ExitStack() as stack:
            if "ultralytics" in modules:
                from autoprune.evaluation.inside.log import muted, no_font_is_fetched

                if silent and "YOLO_VERBOSE" not in environment:
                    stack.enter_context(muted())
                if foreign:
                    stack.enter_context(no_font_is_fetched())
            yield
    finally:
        sys.stdout, sys.stderr = streams
        _calm_new(modules, environment)
        _restore_loggers(loggers)
        restore_random()
        _restore_environment(environment)  # last: torch sets a variable when its modes are set


def _restore_environment(before: dict[str, str]) -> None:
    for name in set(os.environ) - set(before):
        del os.environ[name]
    for name, value in before.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


_Logger = tuple[logging.Logger, int, list[logging.Handler], bool, bool]


def _loggers() -> list[_Logger]:
    known = [logging.getLogger(), *logging.getLogger().manager.loggerDict.values()]
    return [
        (one, one.level, list(one.handlers), one.propagate, one.disabled)
        for one in known
        if isinstance(one, logging.Logger)
    ]


def _restore_loggers(before: list[_Logger]) -> None:
    for logger, level, handlers, propagate, disabled in before:
        logger.propagate, logger.disabled = propagate, disabled
        if logger.level != level:
            logger.setLevel(level)
        if logger.handlers != handlers:
            logger.handlers[:] = handlers


def _random_state() -> Any:
    """A function that puts threads, deterministic mode and random states back."""
    python, numpy, torch = random.getstate(), sys.modules.get("numpy"), sys.modules.get("torch")
    in_numpy = None if numpy is None else numpy.random.get_state()
    in_torch: tuple[Any, ...] | None = None
    if torch is not None:
        cudnn = torch.backends.cudnn
        in_torch = (
            torch.get_rng_state(),
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            cudnn.deterministic,
            cudnn.benchmark,
        )

    def restore() -> None:
        random.setstate(python)
        numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
        if numpy is not None and in_numpy is not None:
            numpy.random.set_state(in_numpy)
        elif numpy is not None:
            numpy.random.seed()
        if torch is None:
            return
        if in_torch is None:  # the modes it begins with; its threads are lent by `idle_cores`
            if torch.are_deterministic_algorithms_enabled():
                torch.use_deterministic_algorithms(False)
            torch.backends.cudnn.deterministic = torch.backends.cudnn.benchmark = False
            torch.manual_seed(_TORCH_DEFAULT_SEED)
            return
        state, threads, deterministic, warn_only, cudnn_deterministic, benchmark = in_torch
        torch.set_rng_state(state)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.backends.cudnn.deterministic = cudnn_deterministic
        torch.backends.cudnn.benchmark = benchmark

    return restore


def _calm_new(before: set[str], environment: dict[str, str]) -> None:
    """Loggers of libraries first imported here: as a plain import leaves them."""
    if "ultralytics.utils" in set(sys.modules) - before and "YOLO_VERBOSE" not in environment:
        from autoprune.evaluation.inside.log import speak_again

        speak_again()
    if "optuna" in set(sys.modules) - before:
        logging.getLogger("optuna").setLevel(logging.INFO)
