"""Runtimes report their use when they are imported: not where autoprune imports them."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from autoprune.latency.runner import unreported

ROOT = Path(__file__).resolve().parents[2]

_REPORTS = """
try:
    import openvino_telemetry
    reported = True
except ImportError:
    reported = False
"""


def test_what_reports_is_not_there_while_its_user_is_imported_and_back_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("one_that_reports", "another_that_reports"):
        (tmp_path / f"{name}.py").write_text(_REPORTS)
    (tmp_path / "openvino_telemetry.py").write_text("")
    monkeypatch.delitem(sys.modules, "openvino_telemetry", raising=False)
    assert not unreported("one_that_reports").reported
    assert "openvino_telemetry" not in sys.modules
    import openvino_telemetry  # type: ignore[import-not-found, unused-ignore]

    assert not unreported("another_that_reports").reported
    assert sys.modules["openvino_telemetry"] is openvino_telemetry


_IMPORTS = """
import sys
from autoprune.latency.runner import unreported
unreported(sys.argv[1])
"""


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "nncf"])
def test_the_installed_package_notes_no_user(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ORT_")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _IMPORTS, name],
        env=environment | {"HOME": str(tmp_path), "XDG_CACHE_HOME": f"{tmp_path}/.cache"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "intel").exists()
    assert not (tmp_path / ".cache" / "Microsoft").exists()
