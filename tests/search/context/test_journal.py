"""Stages are told, timed and given their share."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoprune.domain.stages import DENSE, STAGES, TRIALS
from autoprune.errors import ConfigError
from autoprune.search.context.budget import Budget
from autoprune.search.context.journal import Journal
from autoprune.search.context.listener import SearchListener
from autoprune.storage.study_folder import StudyFolder
from tests.search.context.test_budget import FakeClock
from tests.search.fakes import Heard


def test_a_stage_is_told_given_its_time_and_noted_over_all_runs(tmp_path: Path) -> None:
    clock, heard, folder = FakeClock(), Heard(), StudyFolder(tmp_path)
    for seconds in (3.0, 4.5):
        budget = Budget(100.0, now=clock)
        journal = Journal(folder, heard, budget)
        with journal.stage(DENSE) as allowance:
            assert allowance.left_s() == pytest.approx(budget.open(DENSE).left_s())
            clock.seconds += seconds
    assert folder.stage_seconds() == {"dense": 7.5}
    assert heard.begun == ["dense", "dense"]


def test_an_interrupted_stage_is_noted_too(tmp_path: Path) -> None:
    clock, folder = FakeClock(), StudyFolder(tmp_path)
    journal = Journal(folder, SearchListener(), Budget(None, now=clock))

    def interrupted() -> None:
        with journal.stage(TRIALS):
            clock.seconds += 2.0
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert folder.stage_seconds() == {"trials": 2.0}


@pytest.mark.parametrize("content", ["", "[]", '{"seconds": 3}', '{"seconds": {"dense": "x"}}'])
def test_a_broken_note_is_named_and_stops_no_search(tmp_path: Path, content: str) -> None:
    folder = StudyFolder(tmp_path)
    folder.stages.write_text(content)
    with pytest.raises(ConfigError, match=r"stages\.json"):
        folder.stage_seconds()
    Journal(folder, SearchListener(), Budget(None)).note(DENSE, 1.0)
    assert folder.stages.read_text() == content


def test_shares_are_of_the_whole() -> None:
    assert sum(stage.share for stage in STAGES) == pytest.approx(1.0, abs=0.02)
    assert len({stage.name for stage in STAGES}) == len(STAGES)
