"""The published tables are what the committed measurements say."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


def test_the_page_is_generated_from_the_committed_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS.parent)  # the checkout's root, as for `python -m`
    page = importlib.import_module("benchmarks.lib.make_readme").page()
    assert (BENCHMARKS / "README.md").read_text() == page


def test_what_was_found_on_a_gpu_and_what_failed_there_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS.parent)
    timed = {"model": "demo", "width": "half", "imgsz": 192, "apart": 2e-4}
    parts = {
        "environment": {"rows": [{"versions": {"torch": "2"}}, {"card": "H100", "cuda": "13"}]},
        "latency": {
            "rows": [
                timed | {"way": "eager", "ms": 1.5},
                timed | {"way": "graph", "error": "no graph"},
            ]
        },
        "tests": {"rows": [], "error": "exit status 1\nImportError: no pytest"},
    }
    page = importlib.import_module("benchmarks.lib.cuda_table").render({"parts": parts})
    assert "**H100** (torch 2, CUDA 13)" in page
    assert "| eager | 1.500 (2e-04) |" in page
    assert "- latency: demo graph: no graph" in page
    assert "- tests: exit status 1: ImportError: no pytest" in page


def test_every_plan_is_shown_in_every_runtime(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS.parent)
    steps = importlib.import_module("benchmarks.lib.runtimes_steps")
    known = {"ms": 5.0, "low": 0.5, "high": 0.7, "steady": True}
    ratios = {"a": {"dense": 1.0, "0.6-a": 0.6, "0.6-b": 0.7}, "b": {"dense": 1.0, "0.6-a": 0.5}}
    for runtime, found in ratios.items():
        times = {label: known | {"ratio": ratio} for label, ratio in found.items()}
        steps.file_of(tmp_path, ["times", "demo", runtime]).write_text(json.dumps(times))
    score = {"float": 0.72, "file": 0.71, "images": 8}
    steps.file_of(tmp_path, ["scores", "demo", "0.6-a", "b"]).write_text(json.dumps(score))
    searched = {"exit_code": 0, "scored": 12, "fine_tuned": 1}
    steps.file_of(tmp_path, ["plan", "demo", "0.6", "a"]).write_text(json.dumps(searched))
    content = steps.collected(tmp_path, ["demo"], [0.6], ["a", "b"])
    assert len(content["rows"]) == 5, "what is missing is left out"
    page = steps.render(content | {"runtimes": ["a", "b"], "search_s": 60.0})
    assert "| demo | 0.6 | a | 0.600 | 0.500, 0.710 |" in page
    assert "| demo | 0.6 | b | 0.700 | - |" in page
    assert "| demo | 0.6 | a | 5.00 | 0.600 (0.500 to 0.700) | - | - | 12, 1 |" in page
    assert "| demo | dense | b | 5.00 | 1.000 (0.500 to 0.700) | - | - | - |" in page


def test_a_plan_of_another_runtime_is_compared_at_the_same_latency(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Halfway between dense and its 0.6 of the time there, a's plan is worth 0.7 - 0.05."""
    monkeypatch.syspath_prepend(BENCHMARKS.parent)
    cheapest = importlib.import_module("benchmarks.lib.cheapest_plans")
    times = {
        "a": {"cheapest-0.6-a": {"ratio": 0.6}, "cheapest-0.6-b": {"ratio": 0.65}},
        "b": {"cheapest-0.6-a": {"ratio": 0.6}, "cheapest-0.6-b": {"ratio": 0.8}},
    }
    rows = cheapest.rows_of({"cheapest-0.6-a": 0.6, "cheapest-0.6-b": 0.69}, times, [0.6, 0.4])
    page = cheapest.render(rows, ["a", "b"], 0.7)
    assert "| 0.6 | b | 0.690 | 0.650 | 0.800 |" in page
    assert page.endswith("In b, its own against a's: 0.690 against 0.650 at 0.800 of dense.")


def test_a_share_searched_again_replaces_its_row_and_leaves_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for folder in (BENCHMARKS.parent, BENCHMARKS / "claims"):
        monkeypatch.syspath_prepend(folder)
    families = importlib.import_module("benchmarks.claims.other_families")
    trained = {"model": "yolo11n", "epochs": 20, "train_images": 2400}
    searches = [{"share": 0.6, "best": 1}, {"share": 0.45, "best": 2}]
    known = [trained | {"dense": 0.4, "searches": searches}, trained | {"model": "yolo26n"}]
    (tmp_path / "other_families.json").write_text(json.dumps({"rows": known}))
    monkeypatch.setattr(families, "RESULTS", tmp_path)
    again = [{"share": 0.45, "best": 3}]
    first, second = families._added([trained | {"searches": again}])
    assert first == trained | {"dense": 0.4, "searches": [searches[0], *again]}
    assert second == known[1]
    (other, _) = families._added([trained | {"epochs": 3, "searches": again}])
    assert other == trained | {"epochs": 3, "searches": again}, "of another training nothing stays"
