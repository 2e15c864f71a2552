"""The benchmarks are run by hand: here only that all they take from autoprune is still there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# In a process of its own: the scripts change the import path and the environment when imported.
PROGRAM = """
import ast, sys
from importlib import import_module
from pathlib import Path

root = Path(sys.argv[1])
sys.path[:0] = [str(root), str(root / "benchmarks" / "claims")]
for file in sorted((root / "benchmarks").rglob("*.py")):
    name = ".".join(file.relative_to(root).with_suffix("").parts)
    nodes = list(ast.walk(ast.parse(file.read_text("utf-8"))))
    imports = [node for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))]
    for statement in (f"import {name}", *map(ast.unparse, imports)):  # those within functions too
        try:
            exec(statement, {})
        except ModuleNotFoundError as error:
            if error.name != "torch_pruning":
                raise SystemExit(f"{name}: {statement}: {error}")
            print(f"{name}: left out: torch-pruning is not installed")
        except ImportError as error:
            raise SystemExit(f"{name}: {statement}: {error}")
    for node in nodes:
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "patch.object":
            owner = eval(ast.unparse(node.args[0]), vars(import_module(name)))
            if not hasattr(owner, node.args[1].value):
                raise SystemExit(f"{name}: {ast.unparse(node)}: {owner} has no such name")
    print(name)
"""


def test_all_that_benchmarks_import_or_replace_is_there() -> None:
    command = [sys.executable, "-c", PROGRAM, str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "benchmarks.claims.pruning_quality" in done.stdout.splitlines()
