"""A table's rows: by name, with those of installed packages, and every mistake in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from autoprune.domain.table import Table, later
from autoprune.errors import ConfigError
from tests.domain.packages import install


@dataclass(frozen=True)
class Fruit:
    name: str
    summary: str
    taste: Callable[[], str] = lambda: "sweet"


TABLE = Table(
    "autoprune.test_fruits", Fruit, [Fruit("apple", "Keeps a winter."), Fruit("pear", "Soft.")]
)
CODE = """
from tests.domain.test_table import Fruit
fig = Fruit("fig", "Sweet.")
def make(): return Fruit("plum", "Blue.")
other = Fruit("lime", "Sour.")
broken = 1
def raising(): raise RuntimeError("two\\nlines")
"""


@pytest.fixture
def fruits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def added(package: str = "fruit-basket", **entries: str) -> None:
        module = package.replace("-", "_")
        points = {TABLE.group: {name: f"{module}:{what}" for name, what in entries.items()}}
        monkeypatch.syspath_prepend(
            install(tmp_path / package, package, points, {f"{module}.py": CODE})
        )
        monkeypatch.delitem(sys.modules, module, raising=False)

    return added


def test_names_come_in_the_order_of_the_rows() -> None:
    assert TABLE.names() == ("apple", "pear")
    assert list(TABLE) == list(TABLE.shipped())
    assert TABLE.row("pear", "here").summary == "Soft."


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigError) as caught:
        TABLE.row("kiwi", "--fruit")
    assert str(caught.value) == "--fruit: got 'kiwi', expected one of apple, pear"
    assert TABLE.known("kiwi") is None
    assert TABLE.known("pear") == TABLE.row("pear", "here")


def test_lists_for_sentences_and_for_the_readme() -> None:
    assert TABLE.listed() == "apple or pear"
    assert Table("autoprune.none", Fruit, [Fruit("a", "A.")]).listed() == "a"
    three = Table("autoprune.none", Fruit, [Fruit(name, ".") for name in "abc"])
    assert three.listed() == "a, b or c"
    assert TABLE.markdown().splitlines()[2:] == [
        "| `apple` | Keeps a winter. |",
        "| `pear` | Soft. |",
    ]


def test_an_installed_package_adds_a_row_or_a_function_that_makes_one(
    fruits: Callable[..., None],
) -> None:
    fruits(fig="fig", plum="make")
    assert TABLE.names() == ("apple", "pear", "fig", "plum")
    assert TABLE.row("fig", "here").summary == "Sweet."
    assert TABLE.row("plum", "here").summary == "Blue."
    assert "fig" not in TABLE.markdown()  # README lists what autoprune ships
    with pytest.raises(ConfigError, match="expected one of apple, pear, fig, plum"):
        TABLE.row("kiwi", "here")


def test_listing_the_names_imports_no_packages_module(fruits: Callable[..., None]) -> None:
    fruits(fig="fig")
    assert "fig" in TABLE.names()
    assert "fig" in TABLE.listed()
    assert "fruit_basket" not in sys.modules


@pytest.mark.parametrize(
    ("name", "what", "said"),
    [
        ("gone", "nothing", "'gone' of the package fruit-basket: cannot be loaded: .*nothing"),
        ("bad", "raising", "'bad' of the package fruit-basket: cannot be loaded: two lines"),
        ("one", "broken", "'one' of the package fruit-basket: got 'int', expected a Fruit"),
        ("lemon", "other", "name: got 'lime', expected 'lemon', as the entry point"),
        ("apple", "fig", "'apple' is added by the package fruit-basket, but a name stands for one"),
    ],
)
def test_a_packages_mistake_is_one_line_that_names_the_package(
    fruits: Callable[..., None], name: str, what: str, said: str
) -> None:
    fruits(**{name: what})
    with pytest.raises(ConfigError, match=said) as caught:
        TABLE.row(name, "here")
    assert "\n" not in str(caught.value)
    assert TABLE.row("pear", "here").name == "pear"  # the others go on working
    assert TABLE.names().count(name) == 1


def test_two_packages_with_one_name_are_both_named(fruits: Callable[..., None]) -> None:
    fruits("one-basket", fig="fig")
    fruits("two-basket", fig="fig")
    with pytest.raises(ConfigError, match="one-basket and the package two-basket"):
        TABLE.row("fig", "here")


def test_a_function_named_for_later_is_imported_when_it_is_called() -> None:
    sys.modules.pop("colorsys", None)
    convert = later("colorsys:rgb_to_hsv")
    assert "colorsys" not in sys.modules
    assert convert(0.0, 0.0, b=0.0) == (0.0, 0.0, 0.0)
