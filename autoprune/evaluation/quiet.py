"""Keep Ultralytics silent, offline and out of the user's configuration."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from autoprune.storage.cache import cache_folder
from autoprune.storage.scratch import process_folder

_FOLDER_PREFIX = "ultralytics-of-autoprune-"


def prepare_environment() -> None:
    """Set Ultralytics' environment for good; call it before anything imports ultralytics.

    For programs of one's own, as the command line is. `autoprune.evaluation.traces.no_traces` is
    the same for a while. No version checks, downloads, installs or analytics, ONNX
    Runtime's included; Ultralytics' settings live in a temporary folder of this process, removed at
    exit, unless the user chose a YOLO_CONFIG_DIR, and matplotlib's list of fonts in the user's
    cache folder, below `autoprune`.
    """
    os.environ["YOLO_OFFLINE"] = "1"
    os.environ["YOLO_AUTOINSTALL"] = "0"
    os.environ.setdefault("YOLO_VERBOSE", "0")
    os.environ["ORT_DISABLE_TELEMETRY"] = (
        "1"  # ONNX Runtime, where it is loaded here; see the runner
    )
    # Waiting threads give their core up soon: with a busy neighbour, spinning made 2 threads on 2
    # cores 5 times slower than 1. Read when torch is first imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "30000")
    if "matplotlib" not in sys.modules and not _matplotlib_folder().is_dir():
        # else it makes one, for a list of fonts
        os.environ.setdefault("MPLCONFIGDIR", str(cache_folder() / "matplotlib"))
    given = os.environ.get("YOLO_CONFIG_DIR")
    if imported_by_the_caller() or (given and not _is_ours(given)):
        return
    # a value set by a parent autoprune process is replaced: two processes must not share the file
    os.environ["YOLO_CONFIG_DIR"] = str(_OwnFolder.of_this_process())


def imported_by_the_caller() -> bool:
    """Whether Ultralytics was imported before autoprune had a say: with the user's settings."""
    return "ultralytics" in sys.modules and _OwnFolder.path is None


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


class _OwnFolder:
    """The temporary folder of this process for Ultralytics' settings, which it reads once."""

    path: Path | None = None

    @classmethod
    def of_this_process(cls) -> Path:
        if cls.path is None or not cls.path.name.endswith(f"-{os.getpid()}"):  # forked
            cls.path = process_folder() / f"{_FOLDER_PREFIX}{os.getpid()}"
            cls.path.mkdir()
            _place_font(cls.path / "Ultralytics")
        return cls.path


def _is_ours(folder: Path | str) -> bool:
    return Path(folder).name.startswith(_FOLDER_PREFIX)


def _place_font(folder: Path) -> None:
    """Reading a data YAML looks for Arial and else asks the network; any font in place stops it."""
    folder.mkdir(exist_ok=True)
    found = importlib.util.find_spec("matplotlib")  # importing it would look for its own folders
    if found is None or found.origin is None:
        return
    font = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    for name in ("Arial.ttf", "Arial.Unicode.ttf"):
        with contextlib.suppress(OSError):
            shutil.copyfile(font, folder / name)


def _matplotlib_folder() -> Path:
    """Where the user's own matplotlibrc lies, if there is one."""
    if sys.platform.startswith(("linux", "freebsd")):
        return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "matplotlib"
    return Path.home() / ".matplotlib"
