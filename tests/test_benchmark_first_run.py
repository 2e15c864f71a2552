"""The first run: what a study folder says becomes a row, and the rows say which goals hold."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from autoprune.storage.study_folder import StudyFolder
from benchmarks.lib.first_run import (
    GAIN_IN,
    SITUATIONS,
    check_goals,
    command,
    gain,
    read_run,
)
from benchmarks.lib.first_run_table import render
from tests.report import fake_study as fake

STARTED = datetime.fromisoformat("2026-01-05T10:00:00+00:00")  # of the made-up trials
BEGAN = STARTED - timedelta(seconds=71.5)


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """What a run leaves: its log, and one study."""
    (tmp_path / "log.txt").write_text("said")
    folder = fake.note(fake.rung_study(tmp_path / "demo-5ms"), fake.progress())
    content = fake.settings()
    content["asked"]["timeout_s"] = 460.0
    folder.settings.write_text(json.dumps(content))
    folder.best_plan.write_text("prune_ratios: {}")
    return tmp_path


def rewrite(studies: Path, name: str, **changed: Any) -> None:
    folder = StudyFolder(studies / "demo-5ms")
    record = next(
        r for r in (*folder.trial_records(), *folder.baseline_records()) if r.name == name
    )
    folder.save_record(record.model_copy(update=changed))


def test_a_finished_study_is_one_row_of_its_records(studies: Path) -> None:
    row = read_run(studies, BEGAN)
    assert row["limit_s"] == 460
    assert row["before_trials_s"] == 71.5
    assert (row["scored"], row["fine_tuned"]) == (30, 5)
    assert row["dense"]["test"] == 0.731
    best = row["best"]
    assert (best["name"], best["val"], best["test"]) == ("trial 0", 0.716, pytest.approx(0.701))
    assert best["ms"] == pytest.approx(4.296, abs=0.01)  # as confirmed
    uniform = row["uniform"]
    assert (uniform["name"], uniform["test"]) == ("uniform-0.50-r16", pytest.approx(0.582))
    assert gain(row) == (pytest.approx(11.9), "test")
    assert row["at"]["30"] is None
    assert row["at"]["60"] == {"val": 0.57, "kind": "predicted", "hypervolume": 0.0}
    assert row["at"]["240"]["kind"] == "fine-tuned"
    assert row["at"]["480"] == {"val": 0.71, "kind": "confirmed", "hypervolume": 0.37}
    json.dumps(row, allow_nan=False)


def test_of_a_plan_that_was_not_trained_longer_the_score_of_the_short_fine_tune_counts(
    studies: Path,
) -> None:
    rewrite(studies, "trial 0", rungs=(fake.untrained(0.5), fake.rung(0.7)))
    assert read_run(studies, BEGAN)["best"]["test"] == pytest.approx(0.688)


def test_without_a_best_yaml_there_is_no_best(studies: Path) -> None:
    StudyFolder(studies / "demo-5ms").best_plan.unlink()
    row = read_run(studies, BEGAN)
    assert row["best"] is None
    assert gain(row) is None


def test_a_uniform_plan_above_the_budget_is_no_rival(studies: Path) -> None:
    rewrite(studies, "uniform-0.50-r16", latency=fake.latency(5.3))
    assert read_run(studies, BEGAN)["uniform"] is None


def test_where_one_was_not_scored_on_test_both_are_compared_on_val(studies: Path) -> None:
    rewrite(studies, "uniform-0.50-r16", final=None)
    assert gain(read_run(studies, BEGAN)) == (pytest.approx(12.4), "val")


def test_repeated_plans_and_those_taken_over_were_not_scored_here(studies: Path) -> None:
    rewrite(studies, "trial 20", same_as="trial 19")
    rewrite(studies, "trial 21", taken_from="demo/trial 3")
    assert read_run(studies, BEGAN)["scored"] == 28


def test_a_run_that_left_nothing_is_a_row_without_numbers(tmp_path: Path, studies: Path) -> None:
    (tmp_path / "empty").mkdir()
    nothing = read_run(tmp_path / "empty", BEGAN)
    assert nothing["stopped_by"] == "no study was made"
    (studies / "demo-5ms" / "study.yaml").write_text("asked: 3")
    broken = read_run(studies, BEGAN)
    assert str(studies) not in broken["stopped_by"]
    assert set(nothing) == set(broken)
    assert not any(goal.holds for goal in check_goals([ran(nothing, "quiet")]))


def ran(row: dict[str, Any], situation: str, seed: int = 0, **given: Any) -> dict[str, Any]:
    about = {"situation": situation, "seed": seed, "wall_s": 455.0, "exit_code": 0}
    return {**row, **about, **given}


@pytest.fixture
def rows(studies: Path) -> list[dict[str, Any]]:
    row = read_run(studies, BEGAN)
    return [ran(row, situation, seed) for situation in SITUATIONS for seed in (0, 1, 2)]


def missed(rows: list[dict[str, Any]]) -> list[str]:
    return [f"{goal.text}: {goal.found}" for goal in check_goals(rows) if not goal.holds]


def test_all_goals_hold_where_every_run_was_good(rows: list[dict[str, Any]]) -> None:
    assert missed(rows) == []
    assert len(check_goals(rows)) == 6


def test_one_late_run_breaks_the_promise_and_is_named(rows: list[dict[str, Any]]) -> None:
    rows[4]["wall_s"] = 460 * 1.05 + 1
    (found,) = missed(rows)
    assert found.startswith("the limit kept within 5% in every run: at most 1.05 of it; missed")
    assert found.endswith("missed: one-core 1")
    rows[4]["wall_s"] = 460 * 1.05 - 1
    assert missed(rows) == []


def test_one_run_below_the_uniform_plan_is_named(rows: list[dict[str, Any]]) -> None:
    rows[-1]["best"] = {**rows[-1]["best"], "test": 0.58}
    (found,) = missed(rows)
    assert "not below" in found
    assert "least gain -0.2 points; missed: speedup2 2" in found


def test_the_mean_gain_is_that_of_all_but_half_speed(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        row["best"] = {**row["best"], "test": 0.582 + (0.029 if row["situation"] in GAIN_IN else 1)}
    (found,) = missed(rows)
    assert "+2.9 points over 12 of 15 runs" not in found
    assert "+2.9 points over 12 of 12 runs" in found


def test_a_run_without_a_best_plan_meets_no_goal_of_accuracy(rows: list[dict[str, Any]]) -> None:
    rows[0]["best"] = None
    assert len(missed(rows)) == 2


@pytest.mark.parametrize(("situation", "least"), [("quiet", 30), ("one-core", 12)])
def test_too_few_plans_are_told(rows: list[dict[str, Any]], situation: str, least: int) -> None:
    next(row for row in rows if row["situation"] == situation)["scored"] = least - 1
    (found,) = missed(rows)
    assert found.startswith(f"{least} plans scored or more, {situation}: fewest {least - 1}")


def test_what_was_not_run_is_neither_met_nor_missed(rows: list[dict[str, Any]]) -> None:
    quiet = [row for row in rows if row["situation"] == "quiet"]
    unknown = [goal.text for goal in check_goals(quiet) if goal.holds is None]
    assert unknown == ["12 plans scored or more, one-core", "12 plans scored or more, half-speed"]
    mean = next(goal for goal in check_goals(quiet) if "mean" in goal.text)
    assert mean.found.endswith("not run: one-core, busy, speedup2")
    assert all(goal.holds is None for goal in check_goals([]))


def test_the_table_has_a_line_for_each_run_and_each_goal(rows: list[dict[str, Any]]) -> None:
    rows[0] |= {"exit_code": 3, "best": None}
    text = render({"rows": rows[::-1], "budget_ms": 5.0, "timeout_s": None})
    lines = text.splitlines()
    first = next(line for line in lines if line.startswith("| quiet | 0 "))
    assert (
        "| 455 / 460 = 0.99 (exit 3) | 72 | 30 | 5 | - | 3.97, 0.582 | - | 8.31, 0.731 |" in first
    )
    second = next(line for line in lines if line.startswith("| quiet | 1 "))
    assert "| 4.30, 0.701 | 3.97, 0.582 | +11.9 |" in second
    assert second.endswith("| - | 0.570 p | 0.600 p | 0.670 f | 0.710 c |")
    assert sum(line.startswith(tuple(f"| {name} |" for name in SITUATIONS)) for line in lines) == 20
    assert "| 30 plans scored or more, quiet | yes | fewest 30 |" in lines
    assert sum("| **no** |" in line for line in lines) == 2


def test_the_curve_is_the_mean_of_the_runs_that_had_a_best_so_far(
    rows: list[dict[str, Any]],
) -> None:
    rows[0]["at"] = {**rows[0]["at"], "60": None}
    rows[1]["at"] = {**rows[1]["at"], "60": {"val": 0.61, "kind": "measured", "hypervolume": 0.1}}
    lines = render({"rows": rows, "budget_ms": 5.0, "timeout_s": 25.0}).splitlines()
    assert lines[0].startswith("`autoprune search --budget-ms 5 --timeout 25` on the demo")
    head = lines.index("| situation | 30 s | 60 s | 120 s | 240 s | 480 s |")
    curve = next(line for line in lines[head:] if "quiet" in line)
    assert curve.startswith("| quiet | - | 0.590 / 0.05 pm, 2 of 3 runs | 0.600 / 0.00 p | ")


def test_the_command_is_the_readmes() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    assert command("quiet", 5.0, 0, None) == ["search", "--budget-ms", "5", "--seed", "0"]
    assert "autoprune search --budget-ms 5\n" in readme
    assert command("speedup2", 5.0, 1, 25.0)[1:3] == ["--speedup", "2"]
    assert command("speedup2", 5.0, 1, 25.0)[-2:] == ["--timeout", "25"]
