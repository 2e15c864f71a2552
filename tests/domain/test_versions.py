from importlib.metadata import version
from pathlib import Path

import pytest

from autoprune.domain.versions import UNKNOWN, version_of


def test_a_package_is_known_by_what_it_imports_as(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = tmp_path / "engine_gpu-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: engine-gpu\nVersion: 1.2\n")
    (about / "top_level.txt").write_text("engine\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert version_of("engine") == "1.2"
    assert version_of("torch") == version("torch")
    assert version_of("no_such_engine") == UNKNOWN
