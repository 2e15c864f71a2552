"""Who may import whom: the arrows of the README's layout, enforced."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

LONGEST = 350  # lines
PACKAGE = Path(__file__).resolve().parent.parent / "autoprune"

# part -> parts of autoprune it may import besides itself and those every file may
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "domain": set(),
    "storage": set(),
    "pruning": {"families"},
    "families": {"pruning", "evaluation"},  # evaluation: see below, one file of one folder
    "latency": set(),
    "evaluation": set(),
    "report": set(),
    "demo": {"evaluation"},
    "search": {"pruning", "families", "latency", "evaluation", "demo"},
    "shipping": {"search", "pruning", "families", "latency", "evaluation"},
    "api": {"search", "shipping", "pruning", "families", "latency", "evaluation", "report"},
    "cli": {"api", "search", "latency", "report", "demo", "evaluation"},
    "__init__": {"api"},
}
EVERYWHERE = {"errors", "domain", "storage"}

# A file of search/ imports from its own floor or a lower one; run.py stands on top.
FLOORS = ("context", "learn", "propose", "feasibility", "evaluate", "select", "run")

# third party -> the parts, folders or files that are its door
DOORS: dict[str, set[str]] = {
    "optuna": {"search"},
    "ultralytics": {"families", "evaluation", "demo/train_checkpoint", "api"},
    # what its documentation does not promise, with one contract test each
    "ultralytics inside": {"evaluation/inside"},
    "onnxruntime": {"latency/runner", "latency/quantize_onnx"},
    "plotly": {"report"},
    "matplotlib": {"report"},
    "jinja2": {"report"},
    "pandas": {"report"},
    "typer": {
        "cli/main",
        "cli/files",
        "cli/applying",
        "cli/usage",
        "cli/working",
        "cli/options",
        "cli/exit_codes",
    },
    "rich": {"cli"},
    "torch": {
        "pruning",
        "families",
        "latency",
        "evaluation",
        "search",
        "demo/train_checkpoint",
    },
}


def _files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _name(file: Path) -> str:
    return file.relative_to(PACKAGE).with_suffix("").as_posix()


def _imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("file", _files(), ids=_name)
def test_each_file_imports_only_what_its_part_may(file: Path) -> None:
    part = _name(file).split("/")[0]
    allowed = ALLOWED[part] | EVERYWHERE | {part}
    for module in _imports(file):
        if module.startswith("autoprune."):
            other = module.split(".")[1]
            known = other in ALLOWED
            assert not known or other in allowed, f"{_name(file)} imports {module}"


@pytest.mark.parametrize("file", _files(), ids=_name)
def test_each_third_party_has_one_door(file: Path) -> None:
    for module in _imports(file):
        third_party = module.split(".")[0]
        if third_party == "ultralytics" and not _is_public(module, _name(file)):
            third_party = "ultralytics inside"
        doors = DOORS.get(third_party)
        assert doors is None or _rooms(file) & doors, f"{_name(file)} imports {module}"


def _rooms(file: Path) -> set[str]:
    """The file and all folders around it: `a/b/c`, `a/b`, `a`."""
    parts = _name(file).split("/")
    return {"/".join(parts[: end + 1]) for end in range(len(parts))}


def _is_public(module: str, name: str) -> bool:
    """`YOLO` for all, and the classes of layers for the families."""
    documented = {"ultralytics", "ultralytics.YOLO"}
    layers = name.startswith("families/") and module.startswith("ultralytics.nn.modules")
    return module in documented or layers


def test_of_evaluation_families_import_what_builds_stock_models_alone() -> None:
    for file in (PACKAGE / "families").glob("*.py"):
        for module in _imports(file):
            if module.startswith("autoprune.evaluation"):
                assert module.startswith("autoprune.evaluation.inside.stock"), _name(file)


@pytest.mark.parametrize(
    "file",
    [PACKAGE / "latency" / "runner.py", *(PACKAGE / "latency" / "loaders").glob("*_loader.py")],
    ids=lambda file: file.stem,
)
def test_what_is_sent_to_a_target_needs_no_autoprune_and_an_old_python(file: Path) -> None:
    assert not any(module.startswith("autoprune") for module in _imports(file))
    ast.parse(file.read_text(), feature_version=(3, 9))


def test_two_files_touch_private_parts_of_optuna() -> None:
    touching = {
        _name(file)
        for file in (PACKAGE / "search").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "_trial_id"
    }
    assert touching == {"search/context/optuna_inside", "search/context/trial_storage"}


def test_nouns_import_no_verb_and_no_heavy_library() -> None:
    for file in (PACKAGE / "domain").glob("*.py"):
        for module in _imports(file):
            assert module.split(".")[0] not in {"torch", "ultralytics", "optuna", "pandas"}
            assert not module.startswith("autoprune.storage.study_folder")


def test_the_yaml_loader_knows_no_noun() -> None:
    ours = {name for name in _imports(PACKAGE / "storage/yaml_io.py") if "autoprune" in name}
    assert all(name.startswith("autoprune.errors") for name in ours)


@pytest.mark.parametrize("file", _files(), ids=_name)
def test_scipy_is_imported_where_it_computes_alone(file: Path) -> None:
    """Half a search's own imports, and most processes of one never need it."""
    for node in ast.parse(file.read_text()).body:
        names = [alias.name for alias in getattr(node, "names", [])]
        modules = [*names, getattr(node, "module", None) or ""]
        assert not any(module.split(".")[0] == "scipy" for module in modules), _name(file)


@pytest.mark.parametrize("file", sorted((PACKAGE / "search").rglob("*.py")), ids=_name)
def test_a_file_of_search_imports_from_its_own_floor_or_a_lower_one(file: Path) -> None:
    if _name(file) == "search/__init__":
        return
    floor = FLOORS.index(_name(file).split("/")[1])
    for module in _imports(file):
        parts = module.split(".")
        if parts[:2] == ["autoprune", "search"] and len(parts) > 2:
            assert FLOORS.index(parts[2]) <= floor, f"{_name(file)} imports {module}"


def test_proposing_needs_no_torch() -> None:
    for file in (PACKAGE / "search/propose").glob("*.py"):
        assert "torch" not in {module.split(".")[0] for module in _imports(file)}, _name(file)


def test_the_stages_leave_nothing_to_assert() -> None:
    """What is known is in a type: a search needs no `assert ... is not None`."""
    found = [
        f"{_name(file)}: {line.strip()}"
        for file in (PACKAGE / "search").rglob("*.py")
        for line in file.read_text().splitlines()
        if line.strip().startswith("assert ") and "is not None" in line
    ]
    assert found == []


def test_no_file_but_the_runner_is_long() -> None:
    lengths = {_name(file): len(file.read_text().splitlines()) for file in _files()}
    del lengths["latency/runner"]  # stand-alone by design
    assert {name: count for name, count in lengths.items() if count > LONGEST} == {}


def test_pruning_imports_families_only_to_prune_and_to_look() -> None:
    importers = {
        _name(file)
        for file in (PACKAGE / "pruning").glob("*.py")
        if any(module.startswith("autoprune.families") for module in _imports(file))
    }
    assert importers == {"pruning/prune", "pruning/inspection"}


@pytest.mark.parametrize("program", ["runner", "device_program"])
def test_programs_sent_to_a_device_import_nothing_of_autoprune(program: str) -> None:
    imports = _imports(PACKAGE / f"latency/{program}.py")
    assert not any("autoprune" in module for module in imports)


def test_only_the_command_line_prints_or_exits() -> None:
    talkers = {
        "cli/main",
        "cli/files",
        "cli/applying",
        "cli/ending",
        "cli/prune_screen",
        "cli/exit_codes",
        "latency/runner",
        "demo/train_checkpoint",
    }
    for file in _files():
        calls = {
            node.func.id
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert _name(file) in talkers or "print" not in calls, _name(file)


@pytest.mark.parametrize(
    "statement",
    [
        "import autoprune",
        "import sys; sys.argv = ['autoprune', '--help']\n"
        "try:\n    from autoprune.cli.main import main; main()\nexcept SystemExit: pass",
        "import autoprune.report, autoprune.report.html, autoprune.report.png",
    ],
    ids=["import autoprune", "autoprune --help", "report"],
)
def test_light_doors_load_neither_torch_nor_ultralytics(statement: str) -> None:
    probe = (
        f"{statement}\nimport sys; print({{'torch', 'ultralytics', 'optuna'}} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert run.stdout.strip().endswith("set()"), run.stdout
