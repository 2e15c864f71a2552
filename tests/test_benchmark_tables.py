"""The published tables are what the committed measurements say."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


def test_the_page_is_generated_from_the_committed_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS.parent)  # the checkout's root, as for `python -m`
    page = importlib.import_module("benchmarks.lib.make_readme").page()
    assert (BENCHMARKS / "README.md").read_text() == page
