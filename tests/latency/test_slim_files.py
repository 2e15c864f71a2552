"""Files cut from a float one and made INT8."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autoprune.errors import TrialFailed
from autoprune.latency.quantizing import FloatFile
from autoprune.latency.slim_files import SlimQuantized


def test_a_quantizer_that_fails_is_a_failed_export_and_no_traceback(tmp_path: Path) -> None:
    """Whoever times plans then prunes and exports them instead."""

    def refuse(*_: Any) -> None:
        raise RuntimeError("unsupported\n  operator")

    floats: Any = SimpleNamespace(write=lambda widths, path: path)
    files = SlimQuantized(floats, FloatFile((1, 3, 8, 8), (), {}), refuse)
    with pytest.raises(TrialFailed, match=r"plan\.zip: unsupported operator") as caught:
        files.write({}, tmp_path / "plan.zip")
    assert caught.value.reason == "export"


def test_the_folder_of_a_file_is_created(tmp_path: Path) -> None:
    """Each of the plans that a predictor learns from gets one of its own."""
    floats: Any = SimpleNamespace(write=lambda widths, path: path)
    files = SlimQuantized(
        floats, FloatFile((1, 3, 8, 8), (), {}), lambda plain, path, *_: path.write_bytes(b"INT8")
    )
    path = tmp_path / "plans" / "0" / "plan.zip"
    assert files.write({}, path).read_bytes() == b"INT8"
