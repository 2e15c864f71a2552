"""Keep Ultralytics silent, offline and out of the user's configuration."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_FOLDER_PREFIX = "autoprune-ultralytics-"


def prepare_environment() -> None:
    """Set Ultralytics' environment for this process; call it before anything imports ultralytics.

    No version checks, downloads, installs or analytics; its settings live in a temporary folder
    of this process, removed at exit, unless the user chose a YOLO_CONFIG_DIR.
    """
    os.environ["YOLO_OFFLINE"] = "1"
    os.environ["YOLO_AUTOINSTALL"] = "0"
    os.environ.setdefault("YOLO_VERBOSE", "0")
    # Waiting threads give their core up soon: with a busy neighbour, spinning made 2 threads on 2
    # cores 5 times slower than 1. Read when torch is first imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "30000")
    given = os.environ.get("YOLO_CONFIG_DIR")
    if given and not _is_ours(given):
        return
    if given and Path(given).name.endswith(f"-{os.getpid()}"):
        return  # called twice
    # a value set by a parent autoprune process is replaced: two processes must not share the file
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX, suffix=f"-{os.getpid()}"))
    atexit.register(_remove_own, folder)
    os.environ["YOLO_CONFIG_DIR"] = str(folder)
    _place_font(folder / "Ultralytics")


@contextlib.contextmanager
def quiet(log: Path) -> Iterator[None]:
    """Append what Ultralytics logs and anything prints to `log` instead of the screen.

    A screen that must go on (a progress bar) has to hold its own reference to the stream:
    `sys.stdout` and `sys.stderr` are replaced for the whole process while this is open.

    Args:
        log: Text file; its folder is created.
    """
    from autoprune.evaluation.inside.log import leave_trackers_alone, log_to

    leave_trackers_alone(_is_ours)
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("a", encoding="utf-8", errors="replace", buffering=1) as stream,
        log_to(stream),
        contextlib.redirect_stdout(stream),
        contextlib.redirect_stderr(stream),
    ):
        yield


def _is_ours(folder: Path | str) -> bool:
    return Path(folder).name.startswith(_FOLDER_PREFIX)


def _remove_own(folder: Path) -> None:
    if folder.name.endswith(f"-{os.getpid()}"):  # a forked child inherits this, not the folder
        shutil.rmtree(folder, ignore_errors=True)


def _place_font(folder: Path) -> None:
    """Reading a data YAML looks for Arial and else asks the network; any font in place stops it."""
    import matplotlib

    folder.mkdir(exist_ok=True)
    font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    for name in ("Arial.ttf", "Arial.Unicode.ttf"):
        with contextlib.suppress(OSError):
            shutil.copyfile(font, folder / name)
