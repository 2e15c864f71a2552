"""The lines of a search's screen: short, and never a score without the training it is of."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from autoprune.cli.screen import Screen
from autoprune.domain.goal import Evidence, Standing
from autoprune.domain.stages import TRIALS
from autoprune.storage.study_folder import StudyFolder
from tests.report import fake_study as fake


@pytest.fixture
def screen() -> Screen:
    made = Screen("at most 5 ms", "a notice of many words " * 10)
    made.console = Console(file=io.StringIO(), highlight=False)
    return made


def lines(screen: Screen) -> list[str]:
    file = screen.console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue().splitlines()


def test_results_fit_eighty_columns_and_name_the_training_they_are_of(screen: Screen) -> None:
    scored, promoted = fake.scored(120, 0.5, 0.612), fake.promoted(121, 0.5, 0.61, 0.7)
    slow = fake.promoted(122, 0.9, 0.7, 0.71, latency=fake.latency(88.31))
    baseline = fake.record("baseline", "uniform-0.45-r16", 0.6, rungs=(fake.rung(0.66),))
    for record in (fake.dense(), baseline, scored, promoted, slow):
        best = Standing(record, Evidence.INTERVAL) if record in (scored, promoted) else None
        screen.result(record, best)
    shown = lines(screen)
    assert len(shown) == 5
    assert max(map(len, shown)) <= 80
    assert "mAP 0.742" in shown[0]
    assert "mAP 0.660 fine-tuned" in shown[1]
    assert "ms predicted" in shown[2]
    assert "mAP 0.612 untrained  best" in shown[2]
    assert "mAP 0.700 fine-tuned  best" in shown[3]
    assert "0.610" not in shown[3]
    screen.result(promoted.model_copy(update={"untrained_kept": True}), None)
    assert "mAP 0.610 as pruned" in lines(screen)[-1]


def test_a_plan_drawn_again_over_budget_or_failed_shows_no_score(screen: Screen) -> None:
    again = fake.scored(1, 0.5, 0.612, same_as="trial 0")
    over = fake.promoted(2, 0.9, 0.7, 0.71, state="over_budget")
    failed = fake.failed(3, "oom", "out of memory")
    for record in (again, over, failed):
        screen.result(record, None)
    shown = lines(screen)
    assert "same plan as trial 0" in shown[0]
    assert "over budget, not trained" in shown[1]
    assert "failed: oom: out of memory" in shown[2]
    assert not any("mAP" in line for line in shown)


def test_a_log_keeps_sentences_whole_and_leaves_out_the_quick_stages(
    screen: Screen, tmp_path: Path
) -> None:
    screen.prepared(StudyFolder(tmp_path), True, "mAP50-95")
    before = len(lines(screen))
    assert sum("a notice" in line for line in lines(screen)) == 1
    screen.candidate("trial [7]", 8, 60)
    for stage in ("prune", "latency", "12 of 48 plans timed", "validate"):
        screen.stage(stage)
    assert len(lines(screen)) == before
    screen.stage("fine-tune")
    assert lines(screen)[-1] == "  trial [7] (8 of 60): fine-tuning"


def test_the_live_line_tells_predicted_from_measured(screen: Screen) -> None:
    screen.result(fake.dense(), None)
    assert "none within the goal yet" in screen._standing()
    scored = fake.scored(0, 0.5, 0.612)
    screen.result(scored, Standing(scored, Evidence.PREDICTED))
    assert (
        f"trial 0 (predicted): ~{scored.predicted_ms:.2f} ms mAP 0.612 untrained"
        in screen._standing()
    )
    tuned = fake.promoted(0, 0.5, 0.612, 0.7)
    screen.result(tuned, Standing(tuned, Evidence.INTERVAL))
    assert "trial 0 (measured): " in screen._standing()
    assert "mAP 0.700 fine-tuned" in screen._standing()
    assert "~" not in screen._standing()


def test_the_live_line_says_how_far_the_search_is(screen: Screen) -> None:
    screen.begins(TRIALS)
    assert screen._standing().startswith("6 of 10: scoring plans without training")
