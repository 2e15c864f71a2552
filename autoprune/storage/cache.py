"""The user's cache folder, or another one where that cannot be written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from platformdirs import user_cache_path


def cache_folder() -> Path:
    """`autoprune` in the user's cache; with a read-only home, one in the temporary folder.

    Raises:
        OSError: Nothing can be written there either.
    """
    usual = user_cache_path("autoprune")
    try:
        usual.mkdir(parents=True, exist_ok=True)
        if os.access(usual, os.W_OK | os.X_OK):
            return usual
    except OSError:
        pass
    owner = os.getuid() if hasattr(os, "getuid") else 0
    instead = Path(tempfile.gettempdir()) / f"cache-of-autoprune-{owner}"
    instead.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and instead.lstat().st_uid != owner:  # a name that anybody can take
        raise PermissionError(f"{instead} belongs to somebody else")
    return instead
