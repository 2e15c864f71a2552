"""Exit codes: every error becomes one line on stderr and a documented number."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer

from autoprune.errors import (
    AutopruneError,
    ConfigError,
    StorageFailed,
    StudyMismatch,
    TargetUnreachable,
    TrialFailed,
    UnsupportedModel,
)
from autoprune.storage.database_url import masked

OK = 0
UNEXPECTED = 1
WRONG_INPUT = 2
NOT_MET = 3
PAUSED = 4
FAILED = 5
INTERRUPTED = 130

TRACEBACK_VARIABLE = "AUTOPRUNE_TRACEBACK"
ERROR_LOG = "errors.log"  # in the folder of a study


class Running:
    """One command while it runs.

    Attributes:
        study: The folder of its study, once it is known; unexpected errors are noted there.
    """

    study: Path | None = None


@contextmanager
def exit_codes(command: str, *, debug: bool = False) -> Iterator[Running]:
    """Leave the process with the number that README's table names.

    Args:
        command: What the user asked for, for the message: "search".
        debug: Show where an unexpected error came from; so does AUTOPRUNE_TRACEBACK=1.
    """
    running = Running()
    try:
        yield running
    except typer.Exit:  # a RuntimeError too
        raise
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (ConfigError, StudyMismatch, UnsupportedModel) as error:
        fail(str(error), WRONG_INPUT)
    except (TargetUnreachable, StorageFailed) as error:
        fail(f"paused: {error}; the same command continues", PAUSED)
    except TrialFailed as error:  # outside a trial: the model given cannot be measured
        if error.reason == "timeout" and command in ("search", "worker"):
            fail(f"paused: {error.detail}; the same command continues", PAUSED)
        fail(str(error), WRONG_INPUT)
    except AutopruneError as error:
        fail(str(error), FAILED)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            fail(f"{error.filename or 'file'}: {error.strerror or error}", WRONG_INPUT)
        fail("paused: the disk is full; free some space and repeat the command", PAUSED)
    except Exception as error:
        _note(running.study)
        shown = debug or bool(os.environ.get(TRACEBACK_VARIABLE))
        if shown:
            print(masked(traceback.format_exc()), file=sys.stderr, end="")
        of_libraries = isinstance(error, (MemoryError, RuntimeError))  # torch and Ultralytics
        said = _one_line(error)
        hint = "" if shown else "; --debug shows where"
        fail(
            f"unexpected {type(error).__name__} while running {command}{said}{hint}",
            FAILED if of_libraries else UNEXPECTED,
        )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    return f": {text}" if text else ""


def _note(study: Path | None) -> None:
    """Append the traceback to the study's log; a failure to do so must not hide the error."""
    if study is None or not study.is_dir():
        return
    try:
        with (study / ERROR_LOG).open("a", encoding="utf-8") as log:
            log.write(masked(traceback.format_exc()))
    except OSError:
        return


def fail(message: str, code: int) -> NoReturn:
    """Say it in one line on stderr, without a password that it may hold, and exit."""
    line = masked(" ".join(message.split())).encode("utf-8", "backslashreplace").decode()
    print(f"autoprune: {line}", file=sys.stderr)
    sys.exit(code)
