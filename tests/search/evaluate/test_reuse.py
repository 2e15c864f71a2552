"""A second goal on the same model, data and target: nothing is measured or trained twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest

from autoprune.domain.front import pareto_front
from autoprune.domain.goal import Goal
from autoprune.domain.plan import PruningPlan
from autoprune.domain.record import LONG, SHORT, TrialRecord
from autoprune.search.context.listener import SearchListener
from autoprune.search.evaluate import trials
from autoprune.search.evaluate.candidate import Candidate
from autoprune.search.evaluate.reuse import take_baseline, take_trials
from autoprune.search.evaluate.trials import STAGNANT_TRIALS
from autoprune.search.learn.earlier import earlier_studies
from autoprune.storage.study_folder import StudyFolder
from autoprune.storage.yaml_io import dump_yaml
from tests.search.fakes import (
    DENSE,
    FINGERPRINT,
    FakeEvaluation,
    fake_bench,
    fake_loop,
    fake_study,
    kept_share,
    latency,
    record,
    score,
    scored,
)

SLOWER = DENSE.model_copy(update={"latency": latency(11.0, 11.0)})


def _plan(bench: Any, *kept: int) -> PruningPlan:
    plan: PruningPlan = bench.space.plan(dict(zip(bench.space.choices, kept, strict=True)))
    return plan


def _bench(root: Path, goal: float = 4.0, **asked: Any) -> Any:
    bench = fake_bench(root, trials=4)
    changes = {"goal": Goal(kind="budget_ms", value=goal), **asked}
    bench.config = bench.config.model_copy(update=changes)
    bench.limit = bench.config.goal.against(DENSE)
    bench.predicted_ms = lambda plan: 10 * kept_share(plan)
    _write_settings(bench.folder, {"goal": goal, **asked})
    bench.folder.save_record(DENSE)
    return bench


def _write_settings(folder: StudyFolder, asked: dict[str, Any]) -> None:
    content = {"asked": {"seed": 0, **asked}, "model": {"hash": "m"}, "data": {"hash": "d"}}
    folder.settings.write_text(dump_yaml(content))


@pytest.fixture
def earlier(tmp_path: Path) -> Any:
    """A study with a record of every kind; 24, 24, .. is trained with its weights kept."""
    bench = _bench(tmp_path / "first", goal=6.0)

    def save(number: int, *kept: int, **given: Any) -> None:
        made = record(f"trial {number}", None, None, number=number, plan=_plan(bench, *kept))
        bench.folder.save_record(made.model_copy(update=given))

    untrained, short, longer = score(0.5, 0), score(0.7, SHORT), score(0.75, LONG)
    scored = {"predicted_ms": 5.0, "rungs": (untrained,)}
    trained = {"predicted_ms": 5.0, "latency": latency(5.5), "rungs": (untrained, short, longer)}
    save(0, 32, 64, 64, 56, state="scored", **scored)
    save(1, 24, 24, 64, 64, state="complete", **trained, final=short.metrics)
    (bench.folder.trial(1) / "model.pt").write_bytes(b"weights")
    (bench.folder.trial(1) / "model.onnx").write_bytes(b"exported")
    save(2, 24, 64, 64, 24, state="complete", **trained)  # its weights were dropped
    save(3, 32, 64, 64, 32, state="over_budget", latency=latency(6.5), **scored)
    save(4, 32, 64, 64, 64, state="over_budget", predicted_ms=9.0)  # never scored
    save(5, 24, 64, 64, 56, state="failed", **scored)
    save(6, 32, 64, 64, 56, state="scored", same_as="trial 0", **scored)
    return bench


def _earlier(bench: Any) -> Any:
    """The bench, knowing the studies beside it."""
    bench.earlier = earlier_studies(bench, bench.dense_latency.fingerprint)
    return bench


def _taken(bench: Any) -> optuna.Study:
    study = fake_study(bench)
    take_trials(_earlier(bench), study, SearchListener())
    return study


def test_scores_come_along_and_training_where_its_weights_were_kept(
    earlier: Any, tmp_path: Path
) -> None:
    bench = _bench(tmp_path / "second")
    _taken(bench)
    records = bench.folder.trial_records()
    assert [(each.name, each.taken_from, each.state) for each in records] == [
        ("trial 0", "first/trial 0", "scored"),
        ("trial 1", "first/trial 1", "complete"),
        ("trial 2", "first/trial 2", "scored"),
        ("trial 3", "first/trial 3", "scored"),
    ]
    assert [len(each.rungs) for each in records] == [1, 3, 1, 1]
    assert [each.latency is None for each in records] == [True, False, True, True]
    assert records[1].final is not None
    assert (bench.folder.trial(1) / "model.pt").read_bytes() == b"weights"
    assert (bench.folder.trial(1) / "model.onnx").read_bytes() == b"exported"
    assert [path.name for path in bench.folder.root.glob("trials/*/model.pt")] == ["model.pt"]
    assert pareto_front(records) == [records[1]]
    plan = PruningPlan.load(bench.folder.trial(1) / "plan.yaml")
    assert plan.to_mapping() == records[1].plan


def test_measured_ratios_hold_in_todays_dense_time(earlier: Any, tmp_path: Path) -> None:
    bench = _bench(tmp_path / "second")
    bench.dense_latency = SLOWER.latency
    _taken(bench)
    found = bench.folder.trial_records()[1].latency
    assert (found.ratio, found.dense_ms, found.dense_now_ms) == (0.55, 11.0, None)
    assert found.median_ms == pytest.approx(0.55 * 11)
    assert found.p90_ms == pytest.approx(1.1 * 0.55 * 11)
    assert found.high_ms / found.median_ms == pytest.approx(1.01**2**0.5, rel=1e-3)  # of both


def test_optuna_learns_the_same_plans_with_the_new_goals_constraint(
    earlier: Any, tmp_path: Path
) -> None:
    bench = _bench(tmp_path / "second", goal=9.0)
    study = _taken(bench)
    told = study.get_trials()
    assert [trial.number for trial in told] == [0, 1, 2, 3]
    records = bench.folder.trial_records()
    for trial, each in zip(told, records, strict=True):
        assert trial.values[1:] == [10 * kept_share(each.pruning_plan()), 0.5]
        assert trial.constraints == {"latency_over_budget_ms": trial.values[1] - 9.0}
        assert _plan(bench, *trial.params.values()).to_mapping() == each.plan


def test_a_search_killed_while_taking_over_takes_the_rest_and_nothing_twice(
    earlier: Any, tmp_path: Path
) -> None:
    bench = _bench(tmp_path / "second")
    whole = _taken(bench)
    before = bench.folder.trial_records()
    (bench.folder.trial(2) / "record.json").unlink()
    again = _taken(bench)
    assert bench.folder.trial_records() == before
    assert [trial.user_attrs for trial in again.get_trials()] == [
        {"taken_from": each.taken_from} for each in before
    ]
    assert len(whole.get_trials()) == 4


def test_widths_that_the_new_space_does_not_offer_stay_behind(earlier: Any, tmp_path: Path) -> None:
    bench = _bench(tmp_path / "second")
    bench.space.choices["keep_1"] = (32, 64)  # so without the 24 of trial 1
    _taken(bench)
    assert {each.taken_from for each in bench.folder.trial_records()} == {
        "first/trial 0",
        "first/trial 2",
        "first/trial 3",
    }


def test_of_two_studies_that_know_a_plan_the_one_with_weights_is_asked(
    earlier: Any, tmp_path: Path
) -> None:
    middle = _bench(tmp_path / "middle", goal=5.0)
    _taken(middle)
    for number in range(4, 9):  # so that it has most trials, and is looked at first
        plan = _plan(middle, 16, 64, 64, 8 * number)
        middle.folder.save_record(scored(number, 5.0, 0.4, plan=plan))
    for path in middle.folder.root.glob("trials/*/model.*"):
        path.unlink()
    bench = _bench(tmp_path / "third")
    assert [folder.root.name for folder in _earlier(bench).earlier] == ["middle", "first"]
    _taken(bench)
    records = bench.folder.trial_records()
    assert [r.taken_from for r in records if r.state == "complete"] == ["first/trial 1"]
    assert {r.taken_from for r in records} >= {"first/trial 0", "middle/trial 4"}


def test_weights_that_change_while_they_are_copied_are_not_trusted(
    earlier: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = _bench(tmp_path / "second")

    def trained_on(folder: StudyFolder, known: TrialRecord) -> TrialRecord:
        return known.model_copy(update={"rungs": known.rungs[:2]})

    monkeypatch.setattr(StudyFolder, "reread", trained_on)
    _taken(bench)
    assert {each.state for each in bench.folder.trial_records()} == {"scored"}
    assert not list(bench.folder.root.glob("trials/*/model.*"))


def test_a_plan_without_its_weights_costs_what_its_score_cost(earlier: Any, tmp_path: Path) -> None:
    bench = _bench(tmp_path / "second")
    slow = earlier.folder.trial_records()[2].model_copy(update={"seconds": 1800.0})
    earlier.folder.save_record(slow)
    _taken(bench)
    assert bench.folder.trial_records()[2].seconds == 1.0


def test_only_studies_that_differ_in_the_goal_count(earlier: Any, tmp_path: Path) -> None:
    def found(bench: Any) -> list[str]:
        return [folder.root.name for folder in _earlier(bench).earlier]

    bench = _bench(tmp_path / "second")
    _bench(tmp_path / "same-goal")
    _bench(tmp_path / "seed", goal=7.0, seed=1)
    for number, text in enumerate(("asked: [", "asked:", "model: x", "")):
        broken = tmp_path / f"broken-{number}"
        broken.mkdir()
        (broken / "study.yaml").write_text(text)
    unmeasured = _bench(tmp_path / "unmeasured", goal=7.0)
    (unmeasured.folder.dense / "record.json").unlink()
    assert found(bench) == ["first"]
    assert found(_bench(tmp_path / "second", reuse=False)) == []
    elsewhere = FINGERPRINT.model_copy(update={"cpu": "another"})
    bench.dense_latency = bench.dense_latency.model_copy(update={"fingerprint": elsewhere})
    assert found(bench) == []


def test_the_new_goal_has_trials_of_its_own(
    earlier: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation = FakeEvaluation()
    monkeypatch.setattr(trials, "evaluate_untrained", evaluation)
    bench = _bench(tmp_path / "second")
    _taken(bench)
    assert fake_loop(bench).run() == "4 trials done"
    assert len(evaluation.plans) == 4
    assert len(bench.folder.trial_records()) == 8
    known = [each.plan for each in bench.folder.trial_records()[:4]]
    assert not any(plan in known for plan in evaluation.plans)


def test_a_baseline_of_an_earlier_study_is_not_trained_again(tmp_path: Path) -> None:
    first, second = _bench(tmp_path / "first", goal=6.0), _bench(tmp_path / "second")
    second.dense_latency = SLOWER.latency
    plan = _plan(first, 16, 32, 32, 32)
    made = record("uniform-0.50-r8", 5.0, 0.6, kind="baseline", plan=plan, untrained=0.3)
    first.folder.save_record(made)
    wanted = Candidate("baseline", made.name, None, plan)
    assert take_baseline(_earlier(second), wanted) is None  # its weights are gone
    (first.folder.baseline(made.name) / "model.pt").write_bytes(b"weights")
    another = Candidate("baseline", made.name, None, _plan(first, 16, 32, 32, 24))
    assert take_baseline(_earlier(second), another) is None
    found = take_baseline(_earlier(second), wanted)
    assert found is not None
    assert found.latency is not None
    assert (found.taken_from, found.latency.dense_ms) == (f"first/{made.name}", 11.0)
    assert second.folder.baseline_records() == [found]
    assert (second.folder.baseline(made.name) / "model.pt").read_bytes() == b"weights"


def test_many_known_plans_do_not_look_like_stagnation(
    earlier: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = _bench(tmp_path / "second")
    bench.trial_limit = None
    _taken(bench)
    loop = fake_loop(bench)
    assert loop.taken == 4
    finished = bench.folder.trial_records() * STAGNANT_TRIALS  # nothing new in any of them
    assert loop._stagnant(finished)
    loop.taken = len(finished) - STAGNANT_TRIALS + 1
    assert not loop._stagnant(finished)
