"""Promotions: who is fine-tuned, in which order, how many, and what stops it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import filelock
import pytest

from autoprune.domain.goal import Goal
from autoprune.domain.plan import PruningPlan
from autoprune.domain.record import Failure, ModelSize, TrialRecord
from autoprune.errors import TargetUnreachable, TooManyFailures
from autoprune.search.context.listener import SearchListener
from autoprune.search.evaluate.baselines import NextBaseline
from autoprune.search.evaluate.candidate import Candidate
from autoprune.search.evaluate.workers import Here
from autoprune.search.select import promote
from autoprune.search.select.costs import Costs
from autoprune.search.select.order import PROMOTIONS
from autoprune.search.select.promote import FIRST_TRIES, WANTED, Promotions, drop_weights
from tests.forks import Forks
from tests.search.fakes import (
    Heard,
    ending_in,
    fake_bench,
    latency,
    record,
    score,
    scored,
    unlimited,
    with_goal,
)

ROOT = Path(__file__).resolve().parents[3]
Answer = Callable[[Any], TrialRecord]  # what is known of a plan -> what comes of it


def complete(known: TrialRecord, ms: float | None = None, gain: float = 0.2) -> TrialRecord:
    """The record after a fine-tune: measured as predicted, or at `ms`."""
    assert known.untrained_map50_95 is not None
    assert known.predicted_ms is not None
    return known.model_copy(
        update={
            "state": "complete",
            "latency": latency(ms or known.predicted_ms),
            "rungs": (*known.rungs, score(known.untrained_map50_95 + gain)),
        }
    )


def too_slow(known: TrialRecord, ms: float) -> TrialRecord:
    return known.model_copy(update={"state": "over_budget", "latency": latency(ms)})


def broken(known: TrialRecord) -> TrialRecord:
    failure = Failure(reason="oom", detail="CUDA out of memory")
    return known.model_copy(update={"state": "failed", "failure": failure})


class Trainer:
    """Stands in for `measure_candidate` and `train_candidate`.

    Args:
        answer: What both together make of a record.
    """

    def __init__(self, answer: Answer = complete) -> None:
        self.answer = answer
        self.trained: list[str] = []  # or at least measured for that
        self.limits: list[float | None] = []
        self._answers: dict[str, TrialRecord] = {}

    def measure(
        self,
        bench: Any,
        candidate: Candidate,
        listener: SearchListener,
        known: TrialRecord | None,
        *,
        however_slow: bool = False,
    ) -> TrialRecord:
        self.trained.append(candidate.name)
        made = self._answers[candidate.name] = self.answer(known)
        if made.state == "complete":
            known = known or made.model_copy(update={"rungs": made.rungs[:-1], "state": "scored"})
            made = known.model_copy(update={"latency": made.latency})
        bench.folder.save_record(made)
        return made

    def train(
        self,
        bench: Any,
        candidate: Candidate,
        listener: SearchListener,
        known: TrialRecord,
        most_s: float | None,
    ) -> TrialRecord:
        self.limits.append(most_s)
        made = self._answers[candidate.name]
        bench.folder.save_record(made)
        return made

    def take_over(self, where: Any) -> None:
        """Replace the real ones in a module; no uniform plan is wanted."""
        where.measure_candidate, where.train_candidate = self.measure, self.train
        where.next_baseline = lambda *_: None


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    made = Trainer()
    monkeypatch.setattr(promote, "measure_candidate", made.measure)
    monkeypatch.setattr(promote, "train_candidate", made.train)
    monkeypatch.setattr(promote, "next_baseline", lambda *_: None)
    return made


def _bench(root: Path, records: list[TrialRecord], goal: Goal | None = None) -> Any:
    bench = fake_bench(root)
    if goal is not None:
        with_goal(bench, goal)
    for made in records:
        bench.folder.save_record(made)
    return bench


def _promoted(bench: Any, seconds: float | None = None) -> Heard:
    """Promote, within so many seconds if given."""
    heard = Heard()
    allowance = unlimited() if seconds is None else ending_in(seconds)
    Promotions(bench, allowance, heard, Here(bench, heard)).run()
    return heard


def test_the_most_accurate_that_should_fit_are_trained_best_first(
    tmp_path: Path, trainer: Trainer
) -> None:
    waiting = [scored(number, 4.5, 0.1 + 0.02 * number) for number in range(9)]
    slow = scored(9, 5.2, 0.7)
    repeat = scored(10, 4.5, 0.6, same_as="trial 8")
    heard = _promoted(_bench(tmp_path, [*waiting, slow, repeat]))
    assert trainer.trained == [f"trial {number}" for number in (8, 7, 6, 5, 4, 3)]
    assert len(trainer.trained) == PROMOTIONS
    assert heard.bests == ["trial 8"] * 2 * PROMOTIONS  # measured, then fine-tuned


def test_a_likely_miss_is_looked_at_first_only_if_its_score_is_worth_it(
    tmp_path: Path, trainer: Trainer
) -> None:
    """A look costs little: 0.6 untrained is worth one at even odds, 0.52 instead of 0.5 is not."""
    _promoted(_bench(tmp_path / "a", [scored(0, 4.95, 0.6), scored(1, 4.7, 0.5)]))
    assert trainer.trained == ["trial 0", "trial 1"]
    trainer.trained.clear()
    _promoted(_bench(tmp_path / "b", [scored(0, 5.0, 0.52), scored(1, 4.7, 0.5)]))
    assert trainer.trained == ["trial 1", "trial 0"]


def test_fine_tunes_taken_over_leave_this_goal_its_own(tmp_path: Path, trainer: Trainer) -> None:
    taken = [
        complete(scored(number, 4.5, 0.3, taken_from=f"first/trial {number}"))
        for number in range(PROMOTIONS)
    ]
    _promoted(_bench(tmp_path, [*taken, scored(7, 4.8, 0.4), scored(8, 4.7, 0.35)]))
    assert trainer.trained == ["trial 7", "trial 8"]


def test_a_plan_taken_over_untrained_is_this_searchs_own_once_it_is_trained(
    tmp_path: Path, trainer: Trainer
) -> None:
    known = [scored(n, 4.5, 0.3 + n / 100, taken_from=f"first/trial {n}") for n in range(9)]
    bench = _bench(tmp_path, known)
    _promoted(bench)
    assert len(trainer.trained) == PROMOTIONS
    left = [r.taken_from is None for r in bench.folder.trial_records()]
    assert left == [False] * 3 + [True] * PROMOTIONS


def test_taken_over_fine_tunes_do_not_stand_for_the_one_there_is_always_time_for(
    tmp_path: Path, trainer: Trainer
) -> None:
    slow = complete(scored(0, 8.0, 0.7, taken_from="first/trial 0"))
    _promoted(_bench(tmp_path, [slow, scored(1, 4.5, 0.3)]), seconds=0)
    assert trainer.trained == ["trial 1"]


def test_a_resumed_search_trains_only_what_is_missing(tmp_path: Path, trainer: Trainer) -> None:
    done = [complete(scored(number, 4.5, 0.3 + 0.01 * number)) for number in range(4)]
    waiting = [scored(number, 4.5, 0.2 + 0.001 * number) for number in range(4, 10)]
    bench = _bench(tmp_path, [*done, *waiting])
    _promoted(bench)
    assert trainer.trained == ["trial 9", "trial 8"]
    _promoted(bench)
    assert len(trainer.trained) == 2


def test_predictions_are_corrected_by_what_was_measured(tmp_path: Path, trainer: Trainer) -> None:
    """Plans take 10 % longer than predicted, as baselines show: 4.8 ms are 5.2 ms."""
    uniform = [
        record(f"uniform-{n}", 4.4, 0.3, kind="baseline", predicted=4.0, untrained=0.2)
        for n in range(3)
    ]
    repeats = [
        record(f"trial {n}", 4.0, 0.3, number=n, predicted=4.0, untrained=0.2, same_as="x")
        for n in (5, 6)
    ]  # would hide the bias if they counted again
    records = [*uniform, *repeats, scored(0, 4.8, 0.5), scored(1, 4.4, 0.4)]
    trainer.answer = lambda known: complete(known, 1.1 * (known.predicted_ms or 0))
    _promoted(_bench(tmp_path, records))
    assert trainer.trained == ["trial 1"]


def test_over_budget_by_measurement_does_not_count_and_corrects_what_follows(
    tmp_path: Path, trainer: Trainer
) -> None:
    trainer.answer = lambda known: (
        too_slow(known, 5.3) if known.number == 0 else complete(known, 1.08 * 4.5)
    )
    waiting = [scored(0, 4.85, 0.6), scored(1, 4.8, 0.5), scored(2, 4.5, 0.4)]
    bench = _bench(tmp_path, waiting)
    _promoted(bench)
    assert trainer.trained == ["trial 0", "trial 2"]  # 4.8 ms are taken for 5.19 now
    assert bench.folder.reread(waiting[1]).state == "scored"


def test_no_more_than_the_limit_are_trained_however_many_are_too_slow(
    tmp_path: Path, trainer: Trainer
) -> None:
    trainer.answer = lambda known: (
        too_slow(known, 5.01) if (known.number or 0) < 4 else complete(known, 4.0)
    )
    waiting = [scored(number, 4.0, 0.7 - 0.01 * number) for number in range(20)]
    uniform = [
        record(f"uniform-{n}", 4.0, 0.3, kind="baseline", predicted=4.0, untrained=0.2)
        for n in range(5)
    ]
    bench = _bench(tmp_path, [*uniform, *waiting])
    _promoted(bench)
    assert len(trainer.trained) == 4 + PROMOTIONS
    states = [made.state for made in bench.folder.trial_records()]
    assert states.count("complete") == PROMOTIONS


def test_a_misleading_score_doubles_the_promotions_and_is_said_once(
    tmp_path: Path, trainer: Trainer
) -> None:
    def reversed_order(known: TrialRecord) -> TrialRecord:
        return complete(known, gain=0.6 - 2 * (known.untrained_map50_95 or 0.0))

    trainer.answer = reversed_order
    waiting = [scored(number, 4.5, 0.1 + 0.01 * number) for number in range(30)]
    heard = _promoted(_bench(tmp_path, waiting))
    assert len(trainer.trained) == 2 * PROMOTIONS
    assert len([text for text in heard.said if "Spearman -1.00" in text]) == 1


def test_a_fine_score_does_not(tmp_path: Path, trainer: Trainer) -> None:
    waiting = [scored(number, 4.5, 0.1 + 0.01 * number) for number in range(30)]
    heard = _promoted(_bench(tmp_path, waiting))
    assert len(trainer.trained) == PROMOTIONS
    assert heard.said == []


DROP = Goal(kind="max_drop", value=5)  # of 0.8: at least 0.75


def leaves(share: float) -> Answer:
    """A fine-tune after which this share of what pruning lost is still lost."""

    def answer(known: TrialRecord) -> TrialRecord:
        assert known.untrained_map50_95 is not None
        return complete(known, gain=(1 - share) * (0.8 - known.untrained_map50_95))

    return answer


def test_an_accuracy_goal_trains_one_that_meets_it_already_then_faster_ones(
    tmp_path: Path, trainer: Trainer
) -> None:
    """A fifth of the loss stays, 4 points may: 0.6 and more will do."""
    trainer.answer = leaves(0.2)
    baseline = record("uniform-0.25", 8.0, 0.72, kind="baseline", predicted=8.0, untrained=0.4)
    waiting = [
        scored(0, 3.0, 0.30),
        scored(1, 5.0, 0.62),
        scored(2, 7.0, 0.78),
        scored(3, 4.0, 0.55),
        scored(4, 7.5, 0.79),
    ]
    goal = Goal(kind="max_drop", value=4)
    heard = _promoted(_bench(tmp_path, [baseline, *waiting], goal))
    assert trainer.trained == ["trial 2", "trial 1"]
    assert heard.bests == ["trial 2", "trial 2", "trial 2", "trial 1"]


def test_new_plans_that_are_better_are_trained_however_many_were_before(
    tmp_path: Path, trainer: Trainer
) -> None:
    done = [complete(scored(number, 4.5, 0.3 + number / 100)) for number in range(PROMOTIONS)]
    worse = [scored(10 + number, 4.5, 0.2) for number in range(3)]
    better = [scored(20 + number, 4.5, 0.5 + number / 100) for number in range(PROMOTIONS + 2)]
    _promoted(_bench(tmp_path, [*done, *worse, *better]))
    assert trainer.trained == [f"trial {20 + number}" for number in range(7, 1, -1)]


def test_an_accuracy_goal_tries_the_most_accurate_while_nothing_reaches_it(
    tmp_path: Path, trainer: Trainer
) -> None:
    trainer.answer = lambda known: complete(known, gain=0.01)
    waiting = [scored(number, 3.0 + number, 0.30 + 0.05 * number) for number in range(3)]
    _promoted(_bench(tmp_path, waiting, DROP))
    assert trainer.trained == ["trial 2", "trial 1", "trial 0"]


def test_an_accuracy_goal_believes_measured_latencies(tmp_path: Path, trainer: Trainer) -> None:
    met = record("trial 9", 5.5, 0.78, number=9, predicted=5.0, untrained=0.6)
    waiting = [scored(0, 5.2, 0.6), scored(1, 4.5, 0.6)]  # 5.2 predicted is 5.7 measured
    _promoted(_bench(tmp_path, [met, *waiting], DROP))
    assert trainer.trained == ["trial 1"]


def test_no_time_left_begins_no_more_once_two_are_trained(tmp_path: Path, trainer: Trainer) -> None:
    """One is owed, a second goes before what comes later in the search."""
    waiting = [scored(number, 4.5, 0.5) for number in range(6)]
    bench = _bench(tmp_path, waiting)
    _promoted(bench, seconds=-1)
    assert len(trainer.trained) == WANTED == 2
    _promoted(bench, seconds=0.5)  # less than the second a fine-tune takes
    assert len(trainer.trained) == WANTED
    _promoted(bench, seconds=1000)
    assert len(trainer.trained) == PROMOTIONS


def test_only_what_always_comes_goes_before_a_second_one(tmp_path: Path, trainer: Trainer) -> None:
    bench, heard = _bench(tmp_path, [scored(number, 4.5, 0.5) for number in range(6)]), Heard()
    allowance = ending_in(-1)
    allowance.latest = allowance.budget.now() + 0.5  # a fine-tune takes a second
    Promotions(bench, allowance, heard, Here(bench, heard)).run()
    assert len(trainer.trained) == 1
    assert trainer.limits == [0.0]  # what is left, less two validations


def test_plans_that_turn_out_too_slow_do_not_use_up_more_than_the_time(
    tmp_path: Path, trainer: Trainer
) -> None:
    trainer.answer = lambda known: too_slow(known, 5.01)
    waiting = [scored(number, 4.0 + number / 100, 0.5) for number in range(20)]
    uniform = [
        record(f"uniform-{n}", 4.0, 0.3, kind="baseline", predicted=4.0, untrained=0.2)
        for n in range(8)
    ]  # so that predictions are believed all the same
    bench = _bench(tmp_path, [*uniform, *waiting])
    _promoted(bench, seconds=-1)
    assert len(trainer.trained) == WANTED * FIRST_TRIES == 6


@pytest.mark.parametrize(
    ("left_s", "latest_s", "looks", "first"),
    [
        (45.0, 45.0, 0, "trial 9"),
        (1000.0, 1000.0, 0, "trial 0"),
        # beyond the stage's own time so many looks are owed
        (-1.0, 1000.0, WANTED * FIRST_TRIES - 1, "trial 9"),
        (-1.0, 1000.0, WANTED * FIRST_TRIES - 2, "trial 0"),
    ],
)
def test_where_there_is_time_for_one_look_alone_a_safe_plan_gets_it(
    tmp_path: Path,
    trainer: Trainer,
    monkeypatch: pytest.MonkeyPatch,
    left_s: float,
    latest_s: float,
    looks: int,
    first: str,
) -> None:
    """A look takes 20 s and a fine-tune 10, also a short one."""
    monkeypatch.setattr(Costs, "training_s", 10.0)
    monkeypatch.setattr(Costs, "shortest_training_s", 10.0)
    bench = _bench(tmp_path, [scored(0, 4.9, 0.6), scored(9, 4.4, 0.5)])
    bench.predictor.error.mape = 0.03
    allowance, heard = ending_in(left_s), Heard()
    allowance.latest = allowance.budget.now() + latest_s
    promotions = Promotions(bench, allowance, heard, Here(bench, heard))
    promotions.costs.look_s, promotions.looks = 20.0, looks
    promotions.run()
    assert trainer.trained[0] == first


@pytest.mark.parametrize(
    ("left_s", "whole_s", "shortest_s", "found"),
    [(50.0, 100.0, 10.0, 1), (1.0, 100.0, 10.0, 0), (50.0, 10.0, 100.0, WANTED)],
)
def test_after_misses_the_first_is_cut_short_rather_than_left_out(
    tmp_path: Path,
    trainer: Trainer,
    monkeypatch: pytest.MonkeyPatch,
    left_s: float,
    whole_s: float,
    shortest_s: float,
    found: int,
) -> None:
    """Three were too slow; there is time for an epoch, not even that, or all of them."""
    trainer.answer = lambda known: (
        too_slow(known, 5.01) if len(trainer.trained) <= FIRST_TRIES else complete(known, 4.5)
    )
    monkeypatch.setattr(Costs, "training_s", whole_s)
    monkeypatch.setattr(Costs, "shortest_training_s", shortest_s)
    bench = _bench(tmp_path, [scored(number, 4.0 + number / 100, 0.5) for number in range(20)])
    allowance, heard = ending_in(-1), Heard()
    allowance.latest = allowance.budget.now() + left_s
    Promotions(bench, allowance, heard, Here(bench, heard)).run()
    assert len(trainer.trained) == FIRST_TRIES + found
    assert len(trainer.limits) == found


class Several(Here):
    """Trains three side by side, as far as anybody can tell."""

    count = 3

    def __init__(self, bench: Any, listener: SearchListener) -> None:
        super().__init__(bench, listener)
        self.under_way: list[str] = []
        self.rounds: list[list[str]] = []

    def begin(self, work: Any, candidate: Candidate, *more: Any) -> Future[TrialRecord]:
        self.under_way.append(candidate.name)
        return super().begin(work, candidate, *more)

    def wait(self, futures: Any) -> None:
        self.rounds.append(self.under_way)
        self.under_way = []


def test_what_trains_beside_another_one_costs_a_look_even_after_the_stages_own_time(
    tmp_path: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two are trained already, and the time is over once the first of this round is measured."""
    done = [complete(scored(n, 4.5, 0.3)) for n in range(WANTED)]
    bench = _bench(tmp_path, [*done, *(scored(n, 4.5, 0.5) for n in range(5, 8))])
    workers, allowance = Several(bench, SearchListener()), ending_in(1000.0)

    def measure(*given: Any, **how: Any) -> TrialRecord:
        allowance.ends = allowance.budget.now() - 1
        return trainer.measure(*given, **how)

    monkeypatch.setattr(promote, "measure_candidate", measure)
    Promotions(bench, allowance, SearchListener(), workers).run()
    assert workers.rounds == [["trial 5", "trial 6", "trial 7"]]


def test_plans_are_measured_while_nothing_runs_and_trained_side_by_side(
    tmp_path: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A uniform plan comes after the first trial, the second after the third."""
    bench, heard = _bench(tmp_path, [scored(n, 4.5, 0.5 - n / 100) for n in range(4)]), Heard()
    workers = Several(bench, heard)

    def measure(*given: Any, **how: Any) -> TrialRecord:
        assert workers.under_way == []
        return trainer.measure(*given, **how)

    def uniform(bench: Any, done: list[TrialRecord]) -> NextBaseline | None:
        name = f"uniform-{len(done)}"
        return NextBaseline(Candidate("baseline", name, None, PruningPlan({0: 0.5})), False)

    def answer(known: TrialRecord | None) -> TrialRecord:
        name = trainer.trained[-1]
        return complete(
            known or record(name, None, None, kind="baseline", predicted=4.5, untrained=0.1)
        )

    trainer.answer = answer
    monkeypatch.setattr(promote, "measure_candidate", measure)
    monkeypatch.setattr(promote, "next_baseline", uniform)
    monkeypatch.setattr(promote, "take_baseline", lambda *_: None)
    Promotions(bench, unlimited(), heard, workers).run()
    assert workers.rounds == [
        ["trial 0", "uniform-0", "trial 1"],
        ["trial 2", "uniform-1", "trial 3"],
    ]
    assert {made.state for made in bench.records()} == {"complete"}


def test_a_trial_that_another_worker_holds_is_passed_over(tmp_path: Path, forks: Forks) -> None:
    bench = _bench(tmp_path, [scored(0, 4.5, 0.6), scored(1, 4.5, 0.5)])
    with filelock.FileLock(bench.folder.trial(0) / ".lock"):
        # another process: a lock of the same process would be granted again
        code = (
            "import sys\n"
            "from pathlib import Path\n"
            "from tests.search.select.test_promote import Trainer, _promoted, promote\n"
            "from tests.search.fakes import fake_bench\n"
            "trainer = Trainer()\n"
            "trainer.take_over(promote)\n"
            "_promoted(fake_bench(Path(sys.argv[1])))\n"
            "print(trainer.trained)\n"
        )
        run = _in_another_process(forks, code, tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "['trial 1']"


def test_a_trial_that_another_worker_just_trained_is_left_alone(
    tmp_path: Path, trainer: Trainer
) -> None:
    stale = scored(0, 4.5, 0.6)
    bench = _bench(tmp_path, [complete(stale)])
    listener = SearchListener()
    promotions = Promotions(bench, unlimited(), listener, Here(bench, listener))
    assert promotions._measured(Candidate.of(stale), stale, however_slow=False) is None
    assert trainer.trained == []


def test_an_interrupted_promotion_is_begun_again(tmp_path: Path, trainer: Trainer) -> None:
    def interrupted(known: TrialRecord) -> TrialRecord:
        raise KeyboardInterrupt

    bench = _bench(tmp_path, [scored(0, 4.5, 0.6)])
    trainer.answer = interrupted
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            _promoted(bench)
    trainer.answer = complete
    _promoted(bench)
    assert bench.folder.trial_records()[0].state == "complete"


def test_a_device_that_is_gone_pauses_and_the_same_plan_comes_next(
    tmp_path: Path, trainer: Trainer
) -> None:
    def gone(known: TrialRecord) -> TrialRecord:
        raise TargetUnreachable("no answer")

    bench = _bench(tmp_path, [scored(0, 4.5, 0.6), scored(1, 4.5, 0.5)])
    trainer.answer = gone
    with pytest.raises(TargetUnreachable):
        _promoted(bench)
    trainer.answer = complete
    _promoted(bench)
    assert trainer.trained == ["trial 0", "trial 0", "trial 1"]


def test_a_failed_fine_tune_is_data_and_five_in_a_row_stop_the_search(
    tmp_path: Path, trainer: Trainer
) -> None:
    trainer.answer = lambda known: broken(known) if (known.number or 0) < 4 else complete(known)
    waiting = [scored(number, 4.5, 0.6 - 0.01 * number) for number in range(8)]
    bench = _bench(tmp_path / "four", waiting)
    _promoted(bench)
    states = [made.state for made in bench.folder.trial_records()]
    assert states == ["failed"] * 4 + ["complete"] * 4
    trainer.answer = broken
    with pytest.raises(TooManyFailures, match=r"5 fine-tunes .* oom: CUDA out of memory"):
        _promoted(_bench(tmp_path / "all", waiting))


def test_without_trials_there_is_nothing_to_promote(tmp_path: Path, trainer: Trainer) -> None:
    _promoted(_bench(tmp_path, []))
    assert trainer.trained == []


def _with_weights(bench: Any, records: list[TrialRecord]) -> list[bool]:
    return [(bench.folder.folder_of(made) / "model.pt").exists() for made in records]


def test_weights_go_unless_on_the_front_contending_or_not_yet_told(tmp_path: Path) -> None:
    plan = PruningPlan({0: 0.5})
    records = [
        record("trial 0", 4.0, 0.7, number=0, plan=plan),
        record("trial 1", 4.1, 0.6, number=1, params=2000, plan=plan),
        record("trial 2", 4.2, 0.5, number=2, params=2000, plan=plan),
        record("uniform-0.50", 4.5, 0.3, kind="baseline", params=3000, plan=plan),
        scored(3, 4.0, 0.9),  # as read; since then another worker has trained it
    ]
    bench = _bench(tmp_path, records)
    for made in records:
        (bench.folder.folder_of(made) / "model.pt").touch()
    drop_weights(bench, records, [records[1]])
    assert _with_weights(bench, records) == [True, True, False, True, True]


_DEADLY = """
import os, signal, sys
from pathlib import Path
from tests.search.fakes import fake_bench, unlimited
from autoprune.search.evaluate import candidate as evaluate
from autoprune.search.context.listener import SearchListener
from autoprune.search.evaluate.workers import Here
from autoprune.search.select import promote

def die(run, however_slow):
    if run.candidate.number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return "complete"

evaluate._Run.measure = die
promote.next_baseline = lambda *_: None
bench, listener = fake_bench(Path(sys.argv[1])), SearchListener()
promote.Promotions(bench, unlimited(), listener, Here(bench, listener)).run()
"""


def _in_another_process(forks: Forks, program: str, root: Path) -> subprocess.CompletedProcess[str]:
    folder = root / "process"
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return forks.run(program, str(root), folder=folder, environment=environment)


def test_a_plan_whose_fine_tune_kills_its_worker_twice_is_given_up(
    tmp_path: Path, forks: Forks
) -> None:
    bench = _bench(tmp_path, [scored(0, 4.5, 0.6)])
    codes = [_in_another_process(forks, _DEADLY, tmp_path).returncode for _ in range(3)]
    assert codes == [-signal.SIGKILL, -signal.SIGKILL, 0]
    (made,) = bench.folder.trial_records()
    assert made.state == "failed"
    assert made.failure is not None
    assert "died 2 times" in made.failure.detail


def test_a_machine_that_became_slower_is_mentioned_once(tmp_path: Path, trainer: Trainer) -> None:
    def on_a_slower_day(known: TrialRecord) -> TrialRecord:
        made = complete(known)
        assert made.latency is not None
        slower = made.latency.model_copy(update={"dense_now_ms": 1.2 * made.latency.dense_ms})
        return made.model_copy(update={"latency": slower})

    records = [scored(number, 4.0 + number / 10, 0.4) for number in range(PROMOTIONS)]
    heard = _promoted(_bench(tmp_path / "calm", records))
    assert not any("machine" in text for text in heard.said)
    trainer.answer = on_a_slower_day
    heard = _promoted(_bench(tmp_path / "slower", records))
    assert sum("20% slower" in text for text in heard.said) == 1


def test_weights_of_the_next_best_stay_in_case_the_best_is_not_confirmed(
    tmp_path: Path, trainer: Trainer
) -> None:
    """None but trial 9 is on the front; four more stay as contenders."""
    trainer.answer = lambda known: complete(known).model_copy(
        update={"size": ModelSize(params=9000 - (known.number or 0), macs=9)}
    )
    waiting = [scored(number, 4.9 - number / 100, 0.1 + number / 50) for number in range(10)]
    bench = _bench(tmp_path, waiting)
    for made in waiting:
        bench.folder.folder_of(made).mkdir(parents=True, exist_ok=True)
        (bench.folder.folder_of(made) / "model.pt").touch()
    _promoted(bench)
    trained = waiting[: 9 - PROMOTIONS : -1]
    assert [made.name for made in trained] == trainer.trained
    assert _with_weights(bench, trained) == [True] * 5 + [False]
