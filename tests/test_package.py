"""The public names: typed, complete, and as light as what they name."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

import autoprune
from autoprune import errors

SOURCE = Path(autoprune.__file__)


def _run(statement: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", statement], capture_output=True, text=True, check=True
    )
    return run.stdout.strip()


def test_what_type_checkers_see_is_what_is_loaded() -> None:
    seen = {
        alias.name: node.module
        for block in ast.parse(SOURCE.read_text()).body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == autoprune._HOMES
    assert sorted(autoprune._HOMES) == autoprune.__all__


@pytest.mark.parametrize("name", autoprune.__all__)
def test_every_public_name_is_defined_where_it_is_said_to_be(name: str) -> None:
    assert getattr(autoprune, name).__module__ == autoprune._HOMES[name]
    assert name in dir(autoprune)


def test_every_error_is_public() -> None:
    raised = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert raised <= set(autoprune.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'prune_everything'"):
        autoprune.prune_everything  # noqa: B018


def test_nouns_and_errors_load_nothing_heavy() -> None:
    nouns = [name for name, home in autoprune._HOMES.items() if "autoprune.api" not in home]
    loaded = _run(
        f"from autoprune import {', '.join(nouns)}\nimport sys\n"
        "print({'torch', 'ultralytics', 'optuna', 'onnxruntime'} & set(sys.modules))"
    )
    assert loaded == "set()"


def test_search_stays_the_function_after_its_folder_was_imported() -> None:
    shown = _run(
        "import autoprune\nfrom autoprune.search.context import listener\n"
        "from autoprune import search\nprint(search.__module__, listener.__name__)"
    )
    assert shown == "autoprune.api.searching autoprune.search.context.listener"


def test_the_package_says_that_it_is_typed() -> None:
    assert (resources.files("autoprune") / "py.typed").is_file()
