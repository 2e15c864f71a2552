"""The last lines of a search, finished or interrupted."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoprune.api.searching import SearchResult
from autoprune.cli.ending import print_ending, print_so_far
from autoprune.domain.outcome import Outcome
from tests.report import fake_study as fake

TRAINED = fake.trial(7, 0.556, 0.70)


def _printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_a_finished_search_ends_with_its_answer_and_its_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fake.write_study(tmp_path, [fake.dense(), TRAINED], fake.finished("trial 7"))
    for path in (folder.best_plan, folder.best_model, folder.best_export(".onnx")):
        path.touch()
    outcome = folder.load_outcome()
    assert outcome is not None
    result = SearchResult(folder, outcome, folder.report / "report.html")
    assert print_ending(result)
    lines = _printed(capsys)
    assert lines[1].startswith("Trial 7 runs in ")
    assert lines[-5:] == [
        f"Report: {folder.report / 'report.html'}",
        f"Plan:   {folder.best_plan}",
        f"Model:  {folder.best_model} (after the short fine-tune, 3 epochs)",
        f"Deploy: {folder.best_export('.onnx')}, the file that was timed",
        f"Next:   autoprune apply --plan {folder.best_plan} -o bundle epochs=100",
    ]


def test_without_a_plan_no_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fake.write_study(tmp_path, [fake.dense()], Outcome(status="finished"))
    result = SearchResult(folder, Outcome(status="finished"), folder.report / "report.html")
    assert not print_ending(result)
    assert _printed(capsys)[-1].startswith("Report: ")


def test_an_interrupted_search_tells_the_best_so_far_and_where_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [fake.dense(), fake.scored(3, 0.5, 0.6)]
    folder = fake.write_study(tmp_path, records, Outcome(status="interrupted"))
    folder.best_plan.touch()
    print_so_far(folder.root)
    lines = _printed(capsys)
    assert lines[0].startswith("Interrupted. ")
    assert lines[1].startswith("So far: trial 3 is predicted to run in ")
    assert lines[2:] == [f"Plan:   {folder.best_plan}"]


@pytest.mark.parametrize("known", [False, True])
def test_interrupted_before_there_is_a_study_it_says_no_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], known: bool
) -> None:
    print_so_far(tmp_path if known else None)
    assert len(_printed(capsys)) == 1
