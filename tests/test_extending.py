"""docs/extending.md is a package: its text is installed, and each row passes its contract test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autoprune.domain.table import Table
from autoprune.families import FAMILIES
from autoprune.latency.runtimes import RUNTIMES
from autoprune.latency.targets import TARGETS, forms
from autoprune.pruning.importance import CRITERIA
from autoprune.search.propose.samplers import SAMPLERS
from tests.domain.packages import install

ROOT = Path(__file__).resolve().parent.parent
PAGE, README = (ROOT / name for name in ("docs/extending.md", "README.md"))
TABLES: dict[str, Table[Any]] = {
    "runtimes": RUNTIMES,
    "criteria": CRITERIA,
    "samplers": SAMPLERS,
    "targets": TARGETS,
    "families": FAMILIES,
}
ADDED = {
    "runtimes": "reference",
    "criteria": "readers_l2",
    "samplers": "qmc",
    "targets": "venv",
    "families": "yolov5",
}


def blocks() -> dict[str, str]:
    """File name -> text of every code block that begins with a file's name."""
    found = re.findall(r"^```\w+\n# (\S+\.\w+)\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    assert len(found) == len(dict(found)) == 7
    return dict(found)


def entry_points(pyproject: str) -> dict[str, dict[str, str]]:
    """Group -> name -> "module:attribute", read off the page's pyproject.toml."""
    groups: dict[str, dict[str, str]] = {}
    for line in pyproject.splitlines():
        if head := re.fullmatch(r'\[project\.entry-points\."(.+)"\]', line):
            groups[head[1]] = entries = {}
        elif (pair := re.fullmatch(r'(\w+) = "(.+:.+)"', line)) is not None:
            entries[pair[1]] = pair[2]
    return groups


@pytest.fixture
def installed(tmp_path: Path) -> str:
    files = blocks()
    return install(tmp_path, "my-autoprune-rows", entry_points(files["pyproject.toml"]), files)


def test_the_page_adds_one_row_to_each_table(
    installed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(installed)
    for key, name in ADDED.items():
        table = TABLES[key]
        assert table.group == f"autoprune.{key}"
        assert table.names() == (*(row.name for row in table.shipped()), name)
        assert table.row(name, "test").name == name


def test_every_row_on_the_page_passes_the_contract_test_of_its_table(installed: str) -> None:
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-vv", "-n0"),
            "tests/contracts",
            *("-k", " or ".join(ADDED.values())),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([installed, str(ROOT)]),
            "AUTOPRUNE_TEST_TARGETS": f"venv://{sys.executable}",
        },
    )
    assert run.returncode == 0, run.stdout[-3000:]
    for key, name in ADDED.items():
        cases = re.findall(rf"test_{key}\.py::\S+\[.*{name}.*", run.stdout)
        passed = [case for case in cases if "PASSED" in case]
        assert len(passed) >= 3, run.stdout[-3000:]


def test_help_lists_what_the_tables_hold_with_what_packages_add(installed: str) -> None:
    program = "from autoprune.cli.main import main; main()"
    run = subprocess.run(
        [sys.executable, "-c", program, "search", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([installed, str(ROOT)]),
        },
    )
    said = " ".join(run.stdout.split()).replace("- ", "-")  # lines end after a hyphen, too
    runtimes = ", ".join(row.name for row in RUNTIMES.shipped())
    assert f"What runs the model: {runtimes} or reference (not tried: tensorrt)." in said
    assert "What draws plans: profile, tpe, nsga2, random or qmc." in said
    assert "bn_scale, l2_bn, taylor, random or readers_l2." in said
    assert "local or ssh://user@host[:port] or venv://..." in said


@pytest.mark.parametrize("key", TABLES)
def test_the_pages_lists_are_the_tables(key: str) -> None:
    shown = re.search(f"<!-- {key} -->\n(.*?)\n?<!-- /{key} -->", PAGE.read_text(), re.S)
    assert shown is not None
    assert shown[1] == TABLES[key].markdown(), f"put this there:\n{TABLES[key].markdown()}"


def test_the_pages_table_of_places_is_true() -> None:
    rows = re.findall(
        r"^\| .+ \| `(.+)` \| `(\w+)`.* \| `autoprune\.(\w+)` \| `(.+)` \|$", PAGE.read_text(), re.M
    )
    assert {group for _, _, group, _ in rows} == set(TABLES)
    for file, kind, group, contract in rows:
        assert TABLES[group]._kind.__name__ == kind
        assert f'"autoprune.{group}"' in (ROOT / "autoprune" / file).read_text()
        assert (ROOT / contract).is_file()


def test_the_readme_lists_what_the_tables_hold() -> None:
    text = README.read_text()
    runtimes, samplers, criteria = (
        [row.name for row in table.shipped()] for table in (RUNTIMES, SAMPLERS, CRITERIA)
    )
    assert "`--runtime {}`".format(r"\|".join(runtimes)) in text
    assert "`--sampler {}`".format(r"\|".join(samplers)) in text
    assert " ".join(f"`{name}`" for name in criteria) in text
    assert all(f"--target {form}" in text for form in forms().split(" or ") if "://" in form)
    assert "docs/extending.md" in text
