"""Look into a checkpoint before anything in it is built: is it whole, what would loading it call.

torch's restricted unpickler refuses foreign classes, but calls the constructor of a known one, and
some do more than build: `TorchVision` downloads weights, `CLIP` installs and downloads. A sound
checkpoint calls none: its layers are made empty and then filled.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

from autoprune.errors import ConfigError

_SPARE_BYTES = 64_000_000  # what a file may unpack to beyond its own size
_BUILT = (
    "ultralytics.nn.",
    "ultralytics.models.",
    "torch.nn.modules.",
    "torchvision.",
    "torch.hub.",
)
_KNOWN = ("torch.", "ultralytics.", "collections.", "pathlib.", "numpy.", "copyreg.", "copy_reg.")
_PLAIN = tuple(
    f"{home}.{name}"
    for home in ("builtins", "__builtin__")
    for name in ("set", "frozenset", "bytes", "bytearray", "complex", "slice", "range", "object")
)
_ZIP = b"PK\x03\x04"
_LEGACY_PICKLES = 5  # magic number, protocol, system, the object, the storages' keys


def check_unopened(file: Path) -> set[str]:
    """Check the archive and dry-run its pickle: nothing it names is imported or called.

    Args:
        file: A .pt file.

    Returns:
        The full names of all classes and functions that it holds, beside torch's and Ultralytics'.

    Raises:
        ConfigError: Damaged, larger inside than it is, or built by calling a layer.
    """
    try:
        reader = _dry_run(file)
    except ConfigError:
        raise
    except Exception:  # whatever a reader raises for rubbish
        raise ConfigError(
            f"{file}: not a loadable checkpoint (empty, truncated or another kind of file), "
            f"expected an Ultralytics .pt"
        ) from None
    built = sorted(name for name in reader.called if name.startswith(_BUILT))
    if built:
        raise ConfigError(
            f"{file}: refused: loading it would build a {built[0]}, which may download; expected"
            f" layers that are stored, not built"
        )
    return {name for name in reader.named if not name.startswith((*_KNOWN, *_PLAIN))}


def _dry_run(file: Path) -> _DryReader:
    with file.open("rb") as stream:
        zipped = stream.read(len(_ZIP)) == _ZIP  # what torch goes by
    if zipped != zipfile.is_zipfile(file):
        raise ValueError("a zip behind something else, or half of one")
    if not zipped:
        with file.open("rb") as stream:
            reader = _DryReader(stream)
            for _ in range(_LEGACY_PICKLES):
                reader.load()
                again = _DryReader(stream)
                again.named, again.called, reader = reader.named, reader.called, again
        return reader
    with zipfile.ZipFile(file) as archive:
        _check_archive(file, archive)
        # of two, torch might read the other
        (pickled_name,) = (
            name for name in archive.namelist() if name.lower().endswith("/data.pkl")
        )
        with archive.open(pickled_name) as pickled:
            reader = _DryReader(pickled)
            reader.load()
        return reader


def _check_archive(file: Path, archive: zipfile.ZipFile) -> None:
    unpacked, packed = sum(part.file_size for part in archive.infolist()), file.stat().st_size
    if unpacked > packed + _SPARE_BYTES:
        got = f"{packed / 1e6:.0f} MB that unpack to {unpacked / 1e6:.0f} MB"
        raise ConfigError.of(str(file), "", got, "a file that is not compressed")
    damaged = archive.testzip()
    if damaged is not None:
        raise ConfigError(
            f"{file}: damaged: the checksum of {damaged} is wrong, expected a whole file"
        )


class _DryReader(pickle.Unpickler):
    """Reads a pickle with stand-ins for everything it names.

    Attributes:
        named: Full names of the classes and functions in it.
        called: Those that loading would call.
    """

    def __init__(self, stream: Any) -> None:
        super().__init__(stream, encoding="latin1")
        self.named: set[str] = set()
        self.called: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        """A class that stands in for the one named, and notes when it is called."""
        full = f"{module}.{name}"
        self.named.add(full)
        return _NotedCall("StandIn", (_Thing,), {"full": full, "called": self.called})

    def persistent_load(self, kept: Any) -> Any:
        """Instead of a tensor's storage; a class that old files keep with its source as it is."""
        is_class = isinstance(kept, tuple) and len(kept) > 1 and kept[0] == "module"
        return kept[1] if is_class else _Thing()


class _Thing:
    """Takes whatever a pickle puts into an object."""

    def __new__(cls, *_: Any, **__: Any) -> _Thing:
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> _Thing:
        return _Thing()

    def _take(self, *_: Any) -> None:
        pass

    __setstate__ = __setitem__ = append = extend = add = _take


class _NotedCall(type):
    full: str
    called: set[str]

    def __call__(cls, *_: Any, **__: Any) -> _Thing:
        cls.called.add(cls.full)
        return _Thing()
