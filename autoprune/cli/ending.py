"""The last lines of a search: what it found, and what to do with it."""

from __future__ import annotations

from pathlib import Path

from autoprune.api.searching import SearchResult
from autoprune.report.answer import read_answer
from autoprune.storage.study_folder import StudyFolder


def print_ending(result: SearchResult) -> bool:
    """Print the answer, and the files that hold it.

    Args:
        result: The finished search.

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
    for file in folder.best_exports():
        print(f"Deploy: {file}, the file that was timed")
    if folder.best_plan.exists():
        print(f"Next:   autoprune apply --plan {folder.best_plan} -o bundle epochs=100")
    return result.outcome.goal_met


def print_so_far(study: Path | None) -> None:
    """Print what an interrupted search has found, if it has found anything.

    Args:
        study: Its folder; None where it was not known yet.
    """
    print("Interrupted. Finished work is kept; the same command continues.")
    if study is None or not (study / "study.yaml").exists():
        return
    folder = StudyFolder(study)
    print(read_answer(folder).headline)
    for name, path in (("Report:", folder.report / "report.html"), ("Plan:  ", folder.best_plan)):
        if path.exists():
            print(f"{name} {path}")
