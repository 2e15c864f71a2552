"""docs/faults.md says what its sources say, and names only tests and scripts that exist."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parent
# Of the table of faults; the numbers between were never given.
FAULTS = [*range(1, 5), 7, 9, 10, *range(12, 20), *range(22, 45)]


@pytest.fixture(scope="module")
def scripts() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(TESTS.parent)  # the checkout's root, as for `python -m`
        yield lambda name: importlib.import_module(f"benchmarks.faults.{name}")


def test_the_page_is_made_of_the_rows_and_the_kept_results(scripts: Any) -> None:
    page = scripts("page")
    assert page.PAGE.read_text() == page.page()


def test_every_fault_has_a_row(scripts: Any) -> None:
    assert [row.name for row in scripts("rows").ROWS] == [f"F{number}" for number in FAULTS]


def test_every_test_and_script_named_exists(scripts: Any) -> None:
    names = scripts("__main__").EVERY
    for row in scripts("rows").ROWS:
        assert not set(row.scripts) - set(names), row.name
        for test in row.tests:
            file, _, name = test.partition("::")
            tree = ast.parse((TESTS / file).read_text())
            there = {part.name for part in tree.body if isinstance(part, ast.FunctionDef)}
            assert not name or name in there, f"{row.name}: {test}"


def test_what_nothing_shows_says_so(scripts: Any) -> None:
    for row in scripts("rows").ROWS:
        assert row.tests or row.scripts or row.missing, row.name
        assert row.scripts or row.elsewhere or row.missing, f"{row.name} has no figure"


def test_every_script_has_what_the_runner_asks_for(scripts: Any) -> None:
    for name in scripts("__main__").EVERY:
        assert callable(scripts(name).run), name
        assert scripts(name).__doc__.count("\n") == 0 or name == "soak"
