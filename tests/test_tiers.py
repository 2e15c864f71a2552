"""The table of slow tests names what exists, and the fast tier really trains nothing."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tests.conftest import pytest_collection_modifyitems, pytest_configure
from tests.tiers import ALONE, SLOW, THOROUGH, is_slow, is_thorough, turn, unit

ROOT = Path(__file__).resolve().parent.parent
Source = pytest.Config.ArgsSource


@pytest.mark.parametrize("row", [*ALONE, *SLOW, *THOROUGH])
def test_every_row_names_a_file_or_a_test_that_exists(row: str) -> None:
    file, _, test = row.partition("::")
    tree = ast.parse((ROOT / file).read_text())
    names = {part.name for part in tree.body if isinstance(part, ast.FunctionDef)}
    assert not test or test.partition("[")[0] in names


def test_no_row_is_written_twice() -> None:
    assert len(set(ALONE)) == len(ALONE)
    assert len(set(SLOW)) == len(SLOW)
    assert len(set(THOROUGH)) == len(THOROUGH)
    assert not [row for row in SLOW if "::" in row and row.partition("::")[0] in SLOW]


def test_a_row_means_a_file_or_every_case_of_one_test() -> None:
    assert is_slow("tests/test_end_to_end.py::test_anything[case::1]")
    (one, *_) = (row for row in SLOW if "::" in row and "[" not in row)
    (case, *_) = (row for row in SLOW if "[" in row)
    assert is_slow(case)
    assert not is_slow(case.partition("[")[0] + "[another]")
    assert is_slow(one)
    assert is_slow(f"{one}[case-2]")
    assert not is_slow(f"{one}_but_another")
    assert not is_slow("tests/domain/test_plan.py::test_anything")


def test_a_thorough_row_means_a_test_or_the_cases_that_begin_so() -> None:
    (whole, *_) = (row for row in THOROUGH if "[" not in row)
    (case, *_) = (row for row in THOROUGH if "[" in row)
    assert is_thorough(whole)
    assert is_thorough(f"{whole}[case]")
    assert not is_thorough(f"{whole}_but_another")
    assert is_thorough(f"{case}and-more]")
    assert not is_thorough(case.partition("[")[0] + "[another]")


@pytest.mark.parametrize(
    ("markers", "names", "source", "then"),
    [
        ("", "", Source.TESTPATHS, "not thorough"),
        ("", "", Source.INVOCATION_DIR, "not thorough"),
        ("", "", Source.ARGS, ""),
        ("slow", "", Source.TESTPATHS, "slow"),
        ("", "a_test", Source.TESTPATHS, ""),
    ],
)
def test_thorough_tests_are_left_out_where_nothing_is_asked_for(
    markers: str, names: str, source: Source, then: str
) -> None:
    option = SimpleNamespace(markexpr=markers, keyword=names)
    pytest_configure(cast(pytest.Config, SimpleNamespace(option=option, args_source=source)))
    assert option.markexpr == then


def test_every_test_belongs_to_one_of_three_thirds() -> None:
    every = [SimpleNamespace(nodeid=f"tests/domain/test_plan.py::test_{n}") for n in range(8)]
    seen, left_out = list[SimpleNamespace](), list[SimpleNamespace]()
    hook = SimpleNamespace(pytest_deselected=lambda items: left_out.extend(items))
    for third in (1, 2, 3, None):
        config = SimpleNamespace(getoption={"third": third}.get, hook=hook)
        items = list(every)
        pytest_collection_modifyitems(cast(pytest.Config, config), cast(list[pytest.Item], items))
        assert len(items) in ((2, 3) if third else (8,))
        seen += items
    assert sorted(map(str, seen)) == sorted(map(str, every * 2))
    assert sorted(map(str, left_out)) == sorted(map(str, every * 2))


def test_what_wants_to_be_alone_is_one_unit_and_comes_first() -> None:
    alone = [f"{file}::test_a[b::c]" for file in ALONE]
    assert {unit(each) for each in alone} == {"alone"}
    assert unit("tests/domain/test_plan.py::test_a[b::c]") == "tests/domain/test_plan.py"
    listed = [f"{row.partition('::')[0]}::test_a" for row in SLOW]
    assert max(map(turn, alone)) < min(turn(each) for each in listed if unit(each) != "alone")
    assert max(map(turn, listed)) < turn("tests/domain/test_plan.py::test_a")


def test_this_test_is_marked_as_fast(request: pytest.FixtureRequest) -> None:
    assert [mark.name for mark in request.node.iter_markers()] == ["fast"]


def test_the_fast_tier_refuses_to_train() -> None:
    from ultralytics.engine.trainer import BaseTrainer

    with pytest.raises(pytest.fail.Exception, match=r"tests/tiers\.py"):
        BaseTrainer.train(object())
