"""The search as a list of steps: each needs what the one before made."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autoprune.domain import stages
from autoprune.domain.outcome import Outcome
from autoprune.domain.stages import STAGES
from autoprune.errors import StorageFailed
from autoprune.search import run
from autoprune.search.context.budget import Budget
from autoprune.search.context.journal import Journal
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.workbench import Checked
from autoprune.search.run import STEPS, Prepared, Searched, run_search
from autoprune.search.select.costs import TRAINING
from autoprune.storage.study_folder import StudyFolder
from tests.search.fakes import DENSE, Heard, fake_bench, too_late


def test_every_step_needs_no_more_than_the_one_before_made() -> None:
    known: type = Checked
    for step in STEPS:
        assert issubclass(known, step.needs), f"{step.stage.name} needs {step.needs.__name__}"
        known = step.makes
    assert known is Outcome


def test_the_steps_are_the_stages_between_the_check_and_the_report() -> None:
    assert [step.stage for step in STEPS] == list(STAGES[1:-1])


def test_what_is_done_once_is_done_under_a_lock() -> None:
    alone = {step.stage.name for step in STEPS if step.lock}
    assert alone == {step.stage.name for step in STEPS} - {"trials", "fine-tunes"}


@pytest.mark.parametrize(("limit_s", "said"), [(100.0, [pytest.approx(100, abs=1)]), (None, [])])
def test_the_screen_is_told_the_end_of_a_search_that_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit_s: float | None, said: list[Any]
) -> None:
    done = Outcome(status="finished")
    monkeypatch.setattr(run, "STEPS", [replace(STEPS[0], run=lambda *_: done)])
    checked: Any = fake_bench(tmp_path)
    checked.data = SimpleNamespace(overlap=0)
    heard = Heard()
    prepared = Prepared(checked, Journal(checked.folder, heard, Budget(limit_s)))
    assert run_search(prepared, heard) == done
    assert heard.deadlines == said
    assert set(checked.folder.stage_seconds()) == {"dense"}


def test_a_search_that_ends_between_two_stages_ends_its_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []

    class Made(Searched):
        def __init__(self) -> None:
            object.__setattr__(self, "workers", SimpleNamespace(close=lambda: closed.append("x")))

    def interrupted() -> None:
        raise KeyboardInterrupt

    step = replace(STEPS[0], run=lambda *_: Made(), shown=True)
    monkeypatch.setattr(run, "STEPS", [step])
    checked: Any = fake_bench(tmp_path)
    checked.data = SimpleNamespace(overlap=0)
    prepared = Prepared(checked, Journal(checked.folder, Heard(), Budget(None)))
    leftover = checked.folder.trial(0) / "export-x"
    leftover.mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        run_search(prepared, Heard(), interrupted)  # while the report is written
    assert closed == ["x"]
    assert not leftover.exists()


def test_what_later_stages_need_at_the_least_is_noted_as_soon_as_it_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside their shares: the end twice what the dense model took, fine-tunes one of them."""
    bench: Any = fake_bench(tmp_path)
    bench.dense = DENSE.model_copy(update={"seconds": 15.0})
    monkeypatch.setattr(run, "measured", lambda *_: bench)
    monkeypatch.setattr(run, "already_met", lambda *_: None)
    budget = Budget(100.0)
    _step("dense").run(bench, budget.open(stages.DENSE), SearchListener())
    assert budget.open(stages.FINISH).left_s() == pytest.approx(30, abs=1)
    monkeypatch.setattr(run, "say_verdict", lambda bench, *_: bench)
    monkeypatch.setattr(run, "open_study", lambda *_: None)
    monkeypatch.setattr(run, "cross_check", lambda *_: None)
    bench.data.train = bench.data.selection_images * 10
    seconds = sum(score.seconds for score in DENSE.rungs)
    one_s = 15.0 + seconds * (3 * 10 * TRAINING + 1)
    budget = Budget(150.0)
    _step("verdict").run(bench, budget.open(stages.VERDICT), SearchListener())
    assert budget.open(stages.PROMOTION).left_s() == pytest.approx(one_s, abs=1)


def _step(name: str) -> run.Step:
    return next(step for step in STEPS if step.stage.name == name)


@pytest.mark.parametrize("name", ["calibration", "latency predictor"])
def test_once_the_time_is_over_nothing_long_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def began(*_: Any) -> None:
        raise AssertionError("began after the limit")

    monkeypatch.setattr(run, "calibrated", began)
    monkeypatch.setattr(run, "informed", began)
    bench: Any = fake_bench(tmp_path)
    bench.config = bench.config.model_copy(update={"timeout_s": 1.0})
    outcome = _step(name).run(bench, too_late(), SearchListener())
    assert outcome.stopped_by.startswith("--timeout 1 is over before the first trial")
    assert outcome == bench.folder.load_outcome()


def test_a_study_that_another_search_holds_for_longer_than_there_is_time_is_paused(
    tmp_path: Path,
) -> None:
    code = (
        "import sys, time, filelock\n"
        "with filelock.FileLock(sys.argv[1]):\n"
        "    print('held', flush=True); time.sleep(30)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / ".x.lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        busy = run._alone(StudyFolder(tmp_path), ".x.lock", Budget(0.3), SearchListener())
        with pytest.raises(StorageFailed, match="another search works on it"):
            busy.__enter__()
        holder.kill()
