"""The trial loop: counting, failing, repeating, being killed, two at once."""

from __future__ import annotations

import os
import random
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from autoprune.domain.config import USUAL_WORKERS
from autoprune.domain.record import TrialRecord
from autoprune.errors import TooManyFailures
from autoprune.search.context.listener import SearchListener
from autoprune.search.evaluate import trials
from autoprune.search.evaluate.candidate import Candidate
from autoprune.search.evaluate.trials import STAGNANT_TRIALS
from tests.forks import Fork, Forks
from tests.search.fakes import (
    FakeEvaluation,
    Heard,
    ending_in,
    failed,
    fake_bench,
    fake_loop,
    fake_study,
    record,
    scored,
    signature,
    too_late,
)

ROOT = Path(__file__).resolve().parents[3]
Worker = Callable[[int], Fork]


@pytest.fixture
def evaluation(monkeypatch: pytest.MonkeyPatch) -> FakeEvaluation:
    fake = FakeEvaluation()
    monkeypatch.setattr(trials, "evaluate_untrained", fake)
    return fake


def _plans(root: Path) -> list[tuple[object, ...]]:
    bench = fake_bench(root)
    return [signature(record.pruning_plan()) for record in bench.folder.trial_records()]


def test_trials_counts_the_total_of_all_runs(tmp_path: Path, evaluation: FakeEvaluation) -> None:
    assert "4" in fake_loop(fake_bench(tmp_path, trials=4)).run()
    fake_loop(fake_bench(tmp_path, trials=7)).run()
    assert len(_plans(tmp_path)) == 7
    fake_loop(fake_bench(tmp_path, trials=7)).run()
    assert len(_plans(tmp_path)) == 7


def test_a_lost_record_is_named_and_its_plan_scored_again(
    tmp_path: Path, evaluation: FakeEvaluation
) -> None:
    fake_loop(fake_bench(tmp_path, trials=4)).run()
    bench = fake_bench(tmp_path, trials=4)
    before = bench.folder.trial_records()
    for known in before:
        known.pruning_plan().save(bench.folder.folder_of(known) / "plan.yaml")
    edited = bench.folder.trial(1) / "record.json"
    edited.write_text(edited.read_text().replace('"seconds": ', '"seconds": 9'))
    (bench.folder.trial(2) / "record.json").unlink()
    shutil.rmtree(bench.folder.trial(3))
    assert [known.number for known in bench.folder.trial_records()] == [0]
    (why,) = bench.folder.set_broken_aside()
    assert str(edited) in why
    assert "checksum" in why
    loop, heard = fake_loop(bench), Heard()
    loop.listener = heard
    loop.run()
    assert bench.folder.trial_records() == before[:3]
    assert heard.said == [
        "trial 1: its record is gone; its plan is scored again",
        "trial 2: its record is gone; its plan is scored again",
        "trial 3: its record and its plan are gone; left out",
    ]
    assert list(bench.folder.broken_records()) == [edited.with_name("record.broken.json")]


def test_no_trials_at_all_may_be_asked_for(tmp_path: Path, evaluation: FakeEvaluation) -> None:
    loop = fake_loop(fake_bench(tmp_path, trials=0))
    assert loop.run() == "0 trials done"
    assert evaluation.plans == []
    assert loop.study.get_trials(deepcopy=False) == []


def test_a_plan_drawn_twice_is_evaluated_once(tmp_path: Path, evaluation: FakeEvaluation) -> None:
    bench = fake_bench(tmp_path, trials=6)
    study = fake_study(bench)
    twice = {name: widths[0] for name, widths in bench.space.choices.items()}
    for _ in range(3):
        study.enqueue_trial(twice)
    fake_loop(bench).run()
    records = bench.folder.trial_records()
    assert [record.same_as for record in records[:3]] == [None, "trial 0", "trial 0"]
    assert len(evaluation.plans) == len({str(plan) for plan in evaluation.plans})
    values = [trial.values for trial in study.get_trials(deepcopy=False)[:3]]
    assert values[0] == values[1] == values[2]


def test_a_drawn_plan_equal_to_a_baseline_reuses_its_result(
    tmp_path: Path, evaluation: FakeEvaluation
) -> None:
    bench = fake_bench(tmp_path, trials=1)
    kept = {name: widths[0] for name, widths in bench.space.choices.items()}
    baseline = record(
        "uniform-0.50",
        4.0,
        0.5,
        kind="baseline",
        plan=bench.space.plan(kept),
        predicted=3.9,
        untrained=0.3,
    )
    bench.folder.save_record(baseline)
    fake_study(bench).enqueue_trial(kept)
    fake_loop(bench).run()
    (made,) = bench.folder.trial_records()
    assert made.same_as == "uniform-0.50"
    assert made.latency == baseline.latency
    assert evaluation.plans == []
    (told,) = fake_study(bench).get_trials(deepcopy=False)
    assert told.values == [1000.0, 3.9, 0.3]  # as if it had been scored without training


def test_over_budget_is_told_complete_with_map_zero_and_a_violated_constraint(
    tmp_path: Path, evaluation: FakeEvaluation
) -> None:
    bench = fake_bench(tmp_path, trials=12, sampler="random")
    loop = fake_loop(bench)
    loop.run()
    over = [r for r in bench.folder.trial_records() if r.state == "over_budget"]
    assert over
    told = loop.study.get_trials(deepcopy=False)
    for made in over:
        assert made.number is not None
        trial = told[made.number]
        assert trial.state == TrialState.COMPLETE
        assert trial.values[2] == 0.0
        assert trial.values[1] > 5
    feasible = {trial.number for trial in loop.study.best_trials}
    assert not feasible & {made.number for made in over}


def test_a_few_failures_are_survived_and_five_in_a_row_stop_the_search(
    tmp_path: Path, evaluation: FakeEvaluation
) -> None:
    def three_then_fine(candidate: Candidate) -> TrialRecord:
        fails = candidate.number is not None and candidate.number < 3
        return failed(candidate) if fails else FakeEvaluation.by_kept_share(candidate)

    evaluation.answer = three_then_fine
    loop = fake_loop(fake_bench(tmp_path / "a", trials=6))
    loop.run()
    states = [trial.state for trial in loop.study.get_trials(deepcopy=False)]
    assert states[:3] == [TrialState.FAIL] * 3
    assert TrialState.FAIL not in states[3:]
    evaluation.answer = failed
    with pytest.raises(TooManyFailures, match="oom: CUDA out of memory"):
        fake_loop(fake_bench(tmp_path / "b", trials=50)).run()
    assert len(_plans(tmp_path / "b")) == 5


@pytest.mark.parametrize("sampler", ["profile", "tpe"])
def test_an_interrupted_trial_is_finished_with_its_own_plan(
    tmp_path: Path, evaluation: FakeEvaluation, sampler: str
) -> None:
    fake_loop(fake_bench(tmp_path / "whole", trials=12, sampler=sampler)).run()
    calls = 0

    def interrupt_sometimes(candidate: Candidate) -> TrialRecord:
        nonlocal calls
        calls += 1
        if calls % 4 == 0:
            raise KeyboardInterrupt
        return FakeEvaluation.by_kept_share(candidate)

    evaluation.answer = interrupt_sometimes
    for _ in range(20):
        try:
            fake_loop(fake_bench(tmp_path / "cut", trials=12, sampler=sampler)).run()
        except KeyboardInterrupt:
            continue
        break
    assert _plans(tmp_path / "cut") == _plans(tmp_path / "whole")
    assert len(_plans(tmp_path / "cut")) == 12


class LateWorkers:
    """So many workers, of which any may be done first."""

    def __init__(self, bench: Any, count: int, seed: int) -> None:
        self.bench, self.count = bench, count
        self.dice = random.Random(seed)
        self.begun: dict[Future[TrialRecord], Callable[[], TrialRecord]] = {}
        self.most = 0

    def begin(self, work: Any, candidate: Candidate, *more: Any) -> Future[TrialRecord]:
        future: Future[TrialRecord] = Future()
        self.begun[future] = lambda: work(self.bench, candidate, SearchListener(), *more)
        self.most = max(self.most, len(self.begun))
        return future

    def wait(self, futures: Collection[Future[TrialRecord]]) -> None:
        while not any(future.done() for future in futures):
            future = self.dice.choice(list(self.begun))
            future.set_result(self.begun.pop(future)())

    def close(self) -> None:
        self.begun.clear()


@pytest.mark.parametrize("sampler", ["profile", "tpe", "nsga2", "random"])
def test_the_number_of_workers_changes_no_plan(
    tmp_path: Path, evaluation: FakeEvaluation, sampler: str
) -> None:
    fake_loop(fake_bench(tmp_path / "one", trials=24, sampler=sampler)).run()
    for count in (2, USUAL_WORKERS):
        bench = fake_bench(tmp_path / str(count), trials=24, sampler=sampler)
        loop = fake_loop(bench)
        loop.workers = late = LateWorkers(bench, count, seed=count)
        loop.run()
        assert late.most == count
        assert _plans(tmp_path / str(count)) == _plans(tmp_path / "one")
        values = [
            [trial.values for trial in fake_study(fake_bench(root)).get_trials(deepcopy=False)]
            for root in (tmp_path / "one", tmp_path / str(count))
        ]
        assert values[0] == values[1]


def test_more_workers_than_usual_all_work(tmp_path: Path, evaluation: FakeEvaluation) -> None:
    bench = fake_bench(tmp_path, trials=24, sampler="random")
    loop, count = fake_loop(bench), USUAL_WORKERS + 3
    loop.workers = late = LateWorkers(bench, count, seed=0)
    loop.run()
    assert late.most == count
    assert [record.number for record in bench.folder.trial_records()] == list(range(24))


def test_one_plan_is_not_scored_twice_side_by_side(
    tmp_path: Path, evaluation: FakeEvaluation
) -> None:
    bench = fake_bench(tmp_path, trials=3)
    study = fake_study(bench)
    for _ in range(3):
        study.enqueue_trial({name: widths[0] for name, widths in bench.space.choices.items()})
    loop = fake_loop(bench)
    loop.workers = LateWorkers(bench, 3, seed=0)
    loop.run()
    assert len(evaluation.plans) == 1
    same = [made.same_as for made in bench.folder.trial_records()]
    assert same == [None, "trial 0", "trial 0"]


def test_what_another_worker_has_just_finished_is_not_scored_again(
    tmp_path: Path, evaluation: FakeEvaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = fake_bench(tmp_path, trials=2)
    study, narrow = fake_study(bench), {n: widths[0] for n, widths in bench.space.choices.items()}
    for _ in range(2):
        study.enqueue_trial(narrow)
    loop = fake_loop(bench)
    theirs = loop._draw(loop.study.ask())
    begin = loop.queue.next

    def after_they_finished() -> Any:
        record = FakeEvaluation.by_kept_share(Candidate("trial", "trial 0", 0, theirs))
        bench.folder.save_record(record)
        return begin()

    monkeypatch.setattr(loop.queue, "next", after_they_finished)
    with bench.folder.hold(bench.folder.trial(0)):
        loop.run()
    assert evaluation.plans == []
    assert [made.same_as for made in bench.folder.trial_records()] == [None, "trial 0"]


def test_what_is_under_way_when_the_search_is_interrupted_is_finished_later(
    tmp_path: Path, evaluation: FakeEvaluation
) -> None:
    fake_loop(fake_bench(tmp_path / "whole", trials=12)).run()

    class Interrupted(LateWorkers):
        def wait(self, futures: Collection[Future[TrialRecord]]) -> None:
            if self.dice.random() < 0.4:
                raise KeyboardInterrupt
            super().wait(futures)

    for seed in range(100):
        bench = fake_bench(tmp_path / "cut", trials=12)
        loop = fake_loop(bench)
        loop.workers = Interrupted(bench, 3, seed)
        with suppress(KeyboardInterrupt):
            loop.run()
            break
    assert seed > 2
    assert _plans(tmp_path / "cut") == _plans(tmp_path / "whole")


def test_a_record_written_before_the_kill_is_told_without_a_second_evaluation(
    tmp_path: Path, evaluation: FakeEvaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = fake_bench(tmp_path, trials=3)
    loop = fake_loop(bench)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "_tell", killed)
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    assert len(bench.folder.trial_records()) == 3  # told in their order, when it is time
    fake_loop(bench).run()
    assert len(evaluation.plans) == len(bench.folder.trial_records()) == 3


def test_no_time_left_stops_before_the_next_trial(
    tmp_path: Path, evaluation: FakeEvaluation
) -> None:
    loop = fake_loop(fake_bench(tmp_path, trials=None), ending_in(-1))
    assert "--timeout" in loop.run()
    assert len(evaluation.plans) == 1  # or there would be nothing to fine-tune


@pytest.mark.parametrize("answer", ["the same plan every time", "nothing but zeros"])
def test_a_search_that_finds_nothing_new_stops_by_itself(
    tmp_path: Path, evaluation: FakeEvaluation, answer: str
) -> None:
    def as_ever(candidate: Candidate) -> TrialRecord:
        assert candidate.number is not None
        untrained = 0.5 if answer == "the same plan every time" else 0.0
        return scored(candidate.number, 4.0, untrained, plan=candidate.plan)

    evaluation.answer = as_ever
    bench = fake_bench(tmp_path, trials=None, sampler="random")
    assert "hardly widened the front" in fake_loop(bench).run()
    untold = USUAL_WORKERS - 1  # results that came after those it goes by
    assert len(_plans(tmp_path)) == 2 * STAGNANT_TRIALS + untold
    limited = fake_bench(tmp_path, trials=2 * STAGNANT_TRIALS + 6, sampler="random")
    assert "trials done" in fake_loop(limited).run()  # who asks for a number gets it


def test_a_search_that_still_finds_better_plans_goes_on(
    tmp_path: Path, evaluation: FakeEvaluation
) -> None:
    def better_and_better(candidate: Candidate) -> TrialRecord:
        number = candidate.number
        assert number is not None
        return scored(number, 4.0, min(0.8, 0.1 + number / 40), plan=candidate.plan)

    evaluation.answer = better_and_better
    loop = fake_loop(fake_bench(tmp_path, trials=None, sampler="random"))
    loop.run()
    assert len(_plans(tmp_path)) >= 28 + STAGNANT_TRIALS


def test_the_deadline_is_the_clocks_or_goes_by_the_trials_so_far(
    tmp_path: Path, evaluation: FakeEvaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[float | None] = []
    loop = fake_loop(fake_bench(tmp_path, trials=5))
    monkeypatch.setattr(loop.listener, "deadline", heard.append)
    loop.run()
    # each fake trial claims to have taken a second; what comes after them is not known
    assert heard == [4.0, 3.0, 2.0, 1.0, None]
    heard.clear()
    limited = fake_loop(fake_bench(tmp_path, trials=8), ending_in(1000))
    monkeypatch.setattr(limited.listener, "deadline", heard.append)
    limited.run()
    assert heard == []  # the clock of the whole search is on the screen


_WORKER = """
import sys, time
from pathlib import Path
from autoprune.search.context.listener import SearchListener
from autoprune.search.evaluate import trials
from tests.search.fakes import FakeEvaluation, fake_bench, fake_loop

def slow(candidate):
    time.sleep(0.02)
    return FakeEvaluation.by_kept_share(candidate)

trials.evaluate_untrained = FakeEvaluation(slow)
fake_loop(fake_bench(Path(sys.argv[1]), trials=int(sys.argv[2]))).run()
"""


@pytest.fixture
def worker(forks: Forks, tmp_path: Path) -> Iterator[Worker]:
    """Starts a search of so many trials in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with ExitStack() as ends:

        def begin(trials: int) -> Fork:
            arguments = str(tmp_path), str(trials)
            fork = forks.begin(_WORKER, *arguments, folder=tmp_path, environment=environment)
            ends.callback(fork.end)
            return fork

        yield begin


def test_two_searches_on_one_study_share_the_work(tmp_path: Path, worker: Worker) -> None:
    fake_study(fake_bench(tmp_path))
    for search in [worker(20) for _ in range(2)]:
        assert search.wait() == 0, search.said()
    numbers = [record.number for record in fake_bench(tmp_path).folder.trial_records()]
    assert sorted(numbers, key=int) == list(range(len(numbers)))  # type: ignore[arg-type]
    assert len(numbers) == 20  # neither begins one too many


def test_a_killed_search_loses_no_finished_trial(tmp_path: Path, worker: Worker) -> None:
    fake_study(fake_bench(tmp_path))
    finished: dict[str, float] = {}
    for wait in (1.0, 0.5, 0.8):
        search = worker(25)
        deadline = time.monotonic() + 60
        before = len(finished)
        while len(_plans(tmp_path)) <= before and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(wait * 0.2)
        search.end()
        records = fake_bench(tmp_path).folder.trial_records()
        for made in records:
            finished.setdefault(made.name, made.seconds)
        assert {made.name for made in records} == set(finished)
    assert len(finished) >= 3  # they were killed at work
    last = worker(25)
    assert last.wait() == 0, last.said()
    loop = fake_loop(fake_bench(tmp_path))
    assert len(_plans(tmp_path)) == 25
    states = [trial.state for trial in loop.study.get_trials(deepcopy=False)]
    assert states == [TrialState.COMPLETE] * 25


def test_a_limit_that_is_over_before_the_first_trial_is_said_with_what_took_the_time(
    tmp_path: Path, evaluation: FakeEvaluation
) -> None:
    bench = fake_bench(tmp_path, trials=None)
    bench.config = bench.config.model_copy(update={"timeout_s": 1.0})
    said = fake_loop(bench, too_late()).run()
    began = r"--timeout 1 is too short for a first trial: what comes before took \d+ s"
    assert re.match(began, said)
    assert "continues" in said
    assert evaluation.plans == []


def test_new_records_are_seen_at_once_and_known_ones_looked_at_now_and_then(tmp_path: Path) -> None:
    bench = fake_bench(tmp_path)
    loop, folder = fake_loop(bench), bench.folder
    before, new = scored(0, 4.0, 0.3), scored(1, 4.0, 0.2)
    folder.save_record(before)
    assert loop._records() == [before]
    fine_tuned = record("trial 0", 4.0, 0.5, number=0, predicted=4.0, untrained=0.3)
    folder.save_record(fine_tuned)  # by another worker
    folder.save_record(new)
    assert loop._records() == [before, new]
    loop._rereads_at = 0.0
    assert loop._records() == [fine_tuned, new]
