"""The last lines of a search: what it found, and what to do with it."""

from __future__ import annotations

from pathlib import Path

from autoprune.api.searching import SearchResult
from autoprune.demo.bundle import demo_checkpoint
from autoprune.report.answer import read_answer


def print_ending(result: SearchResult, model: Path | None) -> bool:
    """Print the answer, and the files that hold it.

    Args:
        result: The finished search.
        model: The dense model; None for the demo's.

    Returns:
        Whether the goal is met.
    """
    folder, found = result.folder, read_answer(result.folder)
    print()
    print(found.text())
    print(f"Report: {result.report}")
    if folder.best_plan.exists():
        print(f"Plan:   {folder.best_plan}")
    if folder.best_model.exists():
        print(f"Model:  {folder.best_model} ({found.weights})")
    for suffix in (".onnx", ".pt2"):
        if folder.best_export(suffix).exists():
            print(f"Deploy: {folder.best_export(suffix)}, the file that was timed")
    if folder.best_plan.exists():
        original = model or demo_checkpoint()
        print(f"Next:   autoprune prune {original} --plan {folder.best_plan} -o pruned.pt")
    return result.outcome.goal_met
