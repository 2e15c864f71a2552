"""Where the user's cache cannot be written, a folder of the user's own takes its place."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from autoprune.storage import cache


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def _usual(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(cache, "user_cache_path", lambda _name: folder)


def test_the_usual_folder_is_made(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _usual(monkeypatch, temporary / "home" / "autoprune")
    assert cache.cache_folder() == temporary / "home" / "autoprune"
    assert cache.cache_folder().is_dir()


def test_a_home_that_cannot_be_written_is_passed_over(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (temporary / "home").write_text("a file where a folder should be")
    _usual(monkeypatch, temporary / "home" / "autoprune")
    instead = cache.cache_folder()
    assert instead == cache.cache_folder()
    assert instead.parent == temporary
    (instead / "latency.lock").touch()
    (temporary / "read-only").mkdir()
    _usual(monkeypatch, temporary / "read-only")
    monkeypatch.setattr(os, "access", lambda *_: False)  # as for anybody but root
    assert cache.cache_folder() == instead


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners there")
def test_a_folder_of_somebody_else_is_not_used(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (temporary / "home").write_text("")
    _usual(monkeypatch, temporary / "home" / "autoprune")
    cache.cache_folder()
    monkeypatch.setattr(os, "getuid", lambda: 4321)
    (temporary / "cache-of-autoprune-4321").mkdir()
    with pytest.raises(PermissionError, match="belongs to somebody else"):
        cache.cache_folder()
