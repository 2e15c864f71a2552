"""A refuted plan's stand-in: who it is, what it may cost, and when there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autoprune.domain.record import LatencyResult, TrialRecord
from autoprune.search.context.listener import SearchListener
from autoprune.search.select import finish
from autoprune.search.select import stand_in as module
from autoprune.search.select.finish import MAX_DOUBTFUL, confirm_best
from autoprune.search.select.stand_in import LOOKS, stand_in, with_room
from autoprune.storage.locks import alone
from tests.search.fakes import (
    DENSE,
    Heard,
    ending_in,
    fake_bench,
    latency,
    limit,
    record,
    scored,
    too_late,
    unlimited,
)
from tests.search.select.test_promote import Trainer, complete, too_slow

REFUTED = record(
    "trial 0", 4.9, 0.7, number=0, predicted=4.8, untrained=0.6, confirmed=latency(5.2)
)  # fresh processes: up to 5.252 ms, 1.094 times as much as predicted
UNIFORM = record("uniform-0.30-r8", 4.5, 0.4, kind="baseline", predicted=4.5, untrained=0.3)
ROOMY = scored(1, 4.5, 0.55)
CLOSE = scored(2, 4.7, 0.58)  # 5.14 ms, if it turns out as slow


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    made = Trainer()
    monkeypatch.setattr(module, "measure_candidate", made.measure)
    monkeypatch.setattr(module, "train_candidate", made.train)
    return made


def _bench(root: Path, *records: TrialRecord) -> Any:
    bench = fake_bench(root)
    bench.folder.save_record(DENSE)
    for each in records:
        bench.folder.save_record(each)
        if each.state == "complete":
            (bench.folder.folder_of(each) / "model.pt").write_bytes(b"weights")
    return bench


def _found(bench: Any, *rivals: TrialRecord, confirming_s: float = 0.0) -> str | None:
    found = stand_in(bench, rivals, confirming_s, unlimited(), SearchListener())
    return None if found is None else found.name


def test_only_plans_that_fit_as_slow_as_the_slowest_was_have_room() -> None:
    shaky = latency(9.0).model_copy(update={"steady": False})
    measured = scored(3, 4.4, 0.57, latency=latency(4.4))
    doubtful = scored(4, 4.4, 0.59, latency=latency(4.97).model_copy(update={"steady": False}))
    known = [REFUTED, UNIFORM, ROOMY, CLOSE, measured, doubtful, scored(5, 4.6, 0.5)]
    known.append(record("trial 6", 4.9, 0.7, number=6, predicted=3.0, confirmed=shaky))
    names = [each.name for each in with_room(known, limit(5.0))]
    assert names == ["trial 3", "trial 1"]
    missed = scored(7, 4.0, 0.5, latency=latency(5.1)).model_copy(update={"state": "over_budget"})
    assert with_room([*known, missed], limit(5.0)) == []  # 1.29 times as slow as predicted


def test_the_best_plan_with_room_is_measured_and_trained(tmp_path: Path, trainer: Trainer) -> None:
    bench = _bench(tmp_path, REFUTED, UNIFORM, ROOMY, CLOSE, scored(3, 4.0, 0.5))
    assert _found(bench, UNIFORM) == "trial 1"
    assert trainer.trained == ["trial 1"]
    assert bench.folder.reread(ROOMY).state == "complete"


def test_a_plan_that_promises_no_more_than_the_next_candidate_is_not_tried(
    tmp_path: Path, trainer: Trainer
) -> None:
    better = UNIFORM.model_copy(update={"rungs": complete(scored(9, 4.5, 0.35)).rungs})
    assert _found(_bench(tmp_path, REFUTED, better, ROOMY), better) is None  # 0.55 after training
    assert trainer.trained == []


def test_what_is_measured_to_fit_is_not_measured_again(tmp_path: Path, trainer: Trainer) -> None:
    known = scored(3, 4.4, 0.57, latency=latency(4.4))
    bench = _bench(tmp_path, REFUTED, known)
    trainer._answers[known.name] = complete(known)
    assert _found(bench) == "trial 3"
    assert trainer.trained == []


def test_one_that_is_measured_too_slow_gives_way_to_one_with_more_room(
    tmp_path: Path, trainer: Trainer
) -> None:
    def answer(known: TrialRecord) -> TrialRecord:
        assert known.predicted_ms is not None
        return complete(known) if known.predicted_ms < 4 else too_slow(known, 5.1)

    trainer.answer = answer
    milder = scored(3, 4.5, 0.54)
    bench = _bench(tmp_path, REFUTED, ROOMY, milder, scored(4, 3.9, 0.5))
    assert _found(bench) == "trial 4"
    assert trainer.trained == ["trial 1", "trial 4"]  # trial 3 would be too slow as well


def test_no_more_than_so_many_are_measured(tmp_path: Path, trainer: Trainer) -> None:
    trainer.answer = lambda known: too_slow(known, (known.predicted_ms or 0) * 1.05)
    plans = [scored(number, 4.5, 0.55) for number in range(1, 9)]
    assert _found(_bench(tmp_path, REFUTED, *plans)) is None
    assert len(trainer.trained) == LOOKS == 3


def test_what_another_search_works_on_is_left_to_it(tmp_path: Path, trainer: Trainer) -> None:
    bench = _bench(tmp_path, REFUTED, ROOMY, scored(3, 4.0, 0.5))
    with alone(bench.folder.trial(1) / ".lock"):
        assert _found(bench) == "trial 3"


def test_a_stand_in_leaves_time_for_its_confirmation(tmp_path: Path, trainer: Trainer) -> None:
    bench, allowance = _bench(tmp_path, REFUTED, ROOMY), ending_in(-1)
    allowance.latest = allowance.budget.now() + 100
    assert stand_in(bench, (), 60.0, allowance, SearchListener()) is None
    assert trainer.trained == []
    assert stand_in(bench, (), 30.0, allowance, SearchListener()) is not None
    (most_s,) = trainer.limits
    assert most_s is not None
    assert most_s <= 70 - 2  # two validations of a second each follow the fine-tune


def test_the_stand_in_of_a_refuted_plan_is_confirmed_before_the_next_candidate(
    tmp_path: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = {"trial 0": 5.2, "trial 1": 4.6}
    asked: list[str] = []

    def measured(_: Any, each: TrialRecord, *__: Any) -> LatencyResult:
        asked.append(each.name)
        return latency(again[each.name])

    monkeypatch.setattr(finish, "_measured_again", measured)
    first = REFUTED.model_copy(update={"confirmed": None})
    records, heard = [first, UNIFORM, ROOMY], Heard()
    best = confirm_best(_bench(tmp_path / "a", *records), records, unlimited(), heard)
    assert best is not None
    assert (best.name, asked) == ("trial 1", ["trial 0", "trial 1"])
    assert heard.said[-1] == "trial 1 has more room and stands in."


def test_without_time_or_after_many_misses_there_is_no_stand_in(
    tmp_path: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finish, "_measured_again", lambda b, r, *_: latency(5.2))
    first = REFUTED.model_copy(update={"confirmed": None})
    records = [first, ROOMY]
    bench = _bench(tmp_path / "a", *records)
    assert confirm_best(bench, records, too_late(), SearchListener()) is None
    missed = [
        record(f"trial {n}", 4.9, 0.7, number=n, confirmed=latency(5.2))
        for n in range(10, 9 + MAX_DOUBTFUL)
    ]
    records = [first, ROOMY, *missed]
    bench = _bench(tmp_path / "b", *records)
    assert confirm_best(bench, records, unlimited(), SearchListener()) is None
    assert trainer.trained == []
