"""The best so far: which it is, what is written of it, and what takes its place."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from autoprune.domain.goal import Evidence, Goal, Standing
from autoprune.domain.plan import PruningPlan
from autoprune.domain.progress import read_moments
from autoprune.domain.ranking import best_known
from autoprune.domain.record import TrialRecord
from autoprune.search.evaluate.best_so_far import BestSoFar, publish
from tests.search.fakes import DENSE, fake_bench, latency, record, scored

PLAN = PruningPlan({0: 0.5})
LIMIT = Goal(kind="budget_ms", value=5).against(DENSE)
PREDICTED = scored(0, 4.5, 0.7, plan=PLAN)
MEASURED = scored(1, 4.5, 0.6, plan=PLAN, latency=latency(4.6))
TRAINED = record("trial 2", 4.7, 0.5, number=2, predicted=4.5, untrained=0.2, plan=PLAN)
CONFIRMED = record("trial 3", 4.8, 0.4, number=3, predicted=4.5, plan=PLAN, confirmed=latency(4.8))


def _bench(root: Path, *records: TrialRecord) -> Any:
    bench = fake_bench(root)
    for each in records:
        _save(bench, each)
    return bench


def _save(bench: Any, made: TrialRecord, weights: bool = True) -> None:
    bench.folder.save_record(made)
    made.pruning_plan().save(bench.folder.folder_of(made) / "plan.yaml")
    if weights and made.map50_95 is not None:
        (bench.folder.folder_of(made) / "model.pt").write_bytes(made.name.encode())


def test_a_better_kind_of_evidence_goes_first_however_low_its_score() -> None:
    known = [PREDICTED, MEASURED, TRAINED, CONFIRMED]
    words = []
    while known:
        best = best_known(known, LIMIT)
        assert best is not None
        assert best.record == known.pop()
        words.append((best.words(), best.latency_ms, best.map50_95))
    assert words == [
        ("confirmed, fine-tuned", 4.8, 0.4),
        ("measured, fine-tuned", 4.7, 0.5),
        ("measured, without training", 4.6, 0.6),
        ("predicted, without training", 4.5, 0.7),
    ]


def test_of_one_kind_the_better_score_goes_first() -> None:
    best = best_known([PREDICTED, scored(8, 4.9, 0.71, plan=PLAN)], LIMIT)
    assert best is not None
    assert best.name == "trial 8"


@pytest.mark.parametrize(
    "made",
    [
        scored(0, 5.1, 0.7),
        record("trial 0", 5.3, None, number=0, state="over_budget", predicted=4.9, untrained=0.7),
        scored(0, 4.9, 0.7, same_as="trial 9"),
        record("trial 0", None, None, number=0, state="failed", predicted=4.0),
    ],
)
def test_what_is_not_within_the_goal_is_never_the_best(made: TrialRecord) -> None:
    assert best_known([made], LIMIT) is None


def test_for_an_accuracy_goal_only_what_meets_it_without_training_is_a_best() -> None:
    drop = Goal(kind="max_drop", value=5).against(DENSE)  # of 0.8: at least 0.75
    assert best_known([scored(0, 4.0, 0.74)], drop) is None
    best = best_known([scored(0, 4.0, 0.74), scored(1, 6.0, 0.76)], drop)
    assert best is not None
    assert best.name == "trial 1"


def test_the_best_is_published_from_the_first_scored_plan_on(tmp_path: Path) -> None:
    bench = _bench(tmp_path)
    follower, study = BestSoFar(bench), bench.folder
    assert follower.update() is None
    assert not study.best_plan.exists()
    _save(bench, PREDICTED)
    assert follower.update() == Standing(PREDICTED, Evidence.PREDICTED)
    assert study.best_plan.read_text().startswith(
        "# trial 0 (predicted, without training): 4.50 ms, mAP50-95 0.700 on val\n"
    )
    assert PruningPlan.load(study.best_plan) == PLAN
    assert not study.best_model.exists()
    _save(bench, TRAINED)
    follower.update()
    assert "trial 2 (measured, fine-tuned)" in study.best_plan.read_text()
    assert study.best_model.read_bytes() == b"trial 2"


def test_each_new_best_is_noted_with_its_time_and_what_was_tried(tmp_path: Path) -> None:
    bench = _bench(tmp_path, PREDICTED, scored(7, 4.9, 0.1, plan=PLAN, same_as="trial 0"))
    bench.folder.add_stage_seconds("dense", 20.0)
    follower = BestSoFar(bench)
    follower.update()
    follower.update()
    _save(bench, CONFIRMED)
    follower.update()
    moments = read_moments(bench.folder.progress)
    shown = [(m.name, m.kind, m.trained, m.map50_95, m.latency_ms) for m in moments]
    assert shown == [
        ("trial 0", "predicted", False, 0.7, 4.5),
        ("trial 3", "confirmed", True, 0.4, 4.8),
    ]
    assert [(m.scored, m.fine_tuned) for m in moments] == [(1, 0), (1, 1)]
    assert moments[0].hypervolume == pytest.approx((1 - 0.45) * 0.7 / 0.8)
    assert 20.0 <= moments[0].at_s < 25.0


def test_a_best_without_weights_does_not_keep_those_of_another(tmp_path: Path) -> None:
    bench = _bench(tmp_path, TRAINED)
    follower = BestSoFar(bench)
    follower.update()
    assert bench.folder.best_model.exists()
    _save(bench, TRAINED.model_copy(update={"confirmed": latency(5.3)}))  # refuted
    _save(bench, PREDICTED)
    follower.update()
    assert "trial 0" in bench.folder.best_plan.read_text()
    assert not bench.folder.best_model.exists()


def test_an_unchanged_best_is_not_written_again(tmp_path: Path) -> None:
    bench = _bench(tmp_path, PREDICTED)
    follower = BestSoFar(bench)
    follower.update()
    bench.folder.best_plan.unlink()
    follower.update()
    assert not bench.folder.best_plan.exists()
    BestSoFar(bench).update()  # another run of the search
    assert bench.folder.best_plan.exists()


def test_what_is_published_is_plan_weights_and_exported_file_or_nothing(tmp_path: Path) -> None:
    bench = _bench(tmp_path, TRAINED)
    study, best = bench.folder, Standing(TRAINED, Evidence.INTERVAL)
    publish(bench, best)
    assert study.best_plan.exists()
    assert study.best_model.read_bytes() == b"trial 2"
    assert not study.best_export(".onnx").exists()
    (study.trial(2) / "model.onnx").write_bytes(b"exported")
    publish(bench, best)
    assert study.best_export(".onnx").read_bytes() == b"exported"
    publish(bench, None)
    assert not list(study.root.glob("best.*"))


def test_looking_at_what_is_new_finds_the_best_of_all(tmp_path: Path) -> None:
    dice = random.Random(0)
    follower, every = BestSoFar(_bench(tmp_path)), dict[int, TrialRecord]()
    changes, seen = [PREDICTED, MEASURED, TRAINED, CONFIRMED], set[str]()
    for step in range(200):
        number = dice.randrange(step + 1)
        made = dice.choice(changes)
        given: dict[str, Any] = {
            "number": number,
            "name": f"trial {number}",
            "predicted_ms": dice.uniform(4, 6),
        }
        if made.latency is not None:
            given["latency"] = latency(dice.uniform(4, 6))
            given["confirmed"] = dice.choice([None, latency(4.8), latency(5.3)])
        every[number] = made.model_copy(update=given)  # now and then in the place of the best
        if dice.random() < 0.05:
            every.pop(min(every))
        found = follower._best_of(list(every.values()))
        assert found == best_known(every.values(), LIMIT)
        seen.add("" if found is None else found.name)
    assert len(seen) > 10
