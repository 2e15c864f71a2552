"""The search as a list of steps: each needs what the one before made."""

from __future__ import annotations

from autoprune.domain.outcome import Outcome
from autoprune.domain.stages import STAGES
from autoprune.search.context.workbench import Checked
from autoprune.search.run import STEPS


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
    assert alone == {step.stage.name for step in STEPS} - {"trials", "promotion"}
