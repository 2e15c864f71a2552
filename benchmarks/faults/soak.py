"""Soak: several searches on one study, killed, hung and crashed at random for some minutes.

    python -m benchmarks.faults.soak [MINUTES] [--workers 8] [--storage URL] [--seed 0]

The loop, the locks, the records and the database are the search's own; an evaluation takes 50 ms
and sometimes hangs, crashes or fails. Every few seconds a search is killed; whatever ends is begun
again. At the end one search finishes what is under way, and everything is counted. With --storage
the Optuna study is kept there instead of in the folder's study.db.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from autoprune.domain.front import pareto_front
from autoprune.domain.record import Failure, TrialRecord
from autoprune.errors import TooManyFailures
from autoprune.search.context.listener import SearchListener
from autoprune.search.evaluate import trials
from autoprune.search.evaluate.attempts import attempt
from autoprune.search.evaluate.candidate import Candidate
from autoprune.search.evaluate.supervisor import Limits
from autoprune.search.evaluate.trials import TrialLoop
from autoprune.search.evaluate.workers import Here
from autoprune.search.propose.objectives import OBJECTIVES
from autoprune.search.propose.samplers import Known
from autoprune.search.propose.study_sampler import study_sampler
from benchmarks.faults.fake_search import Logged, evaluations
from benchmarks.faults.finding import Finding, keep
from benchmarks.faults.forked import fork, kill, wait
from benchmarks.faults.fronts import brute_force
from benchmarks.faults.page import PAGE, page
from tests.search.fakes import fake_bench, fake_profile, kept_share, record, unlimited

MINUTES, WORKERS = 3.0, 4
SECONDS = 0.05  # of an evaluation
HANG_LIMIT_S = 2.0
KILL_EVERY_S = (0.5, 4.0)
HANGS, CRASHES, NANS = 0.01, 0.02, 0.05  # shares of the evaluations
NO_LIMIT = 1_000_000


class Faulty(Logged):
    """Evaluates as the real one does, through `attempt`; misbehaves where `dice` says so."""

    def __init__(self, root: Path, dice: random.Random | None) -> None:
        super().__init__(root, SECONDS)
        self.dice = dice

    def __call__(self, bench: Any, candidate: Candidate, listener: Any) -> TrialRecord:
        """A record, or a hang, or the end of this process."""
        with attempt(candidate.folder(bench.folder)) as refused:
            if refused is None and self.dice is not None:
                refused = self._fault()
            self.answer = lambda given: _made(given, refused)
            return super().__call__(bench, candidate, listener)

    def _fault(self) -> Failure | None:
        assert self.dice is not None
        drawn = self.dice.random()
        if drawn < HANGS:
            while True:
                time.sleep(1)
        if drawn < HANGS + CRASHES:
            os.kill(os.getpid(), signal.SIGSEGV)
        if drawn < HANGS + CRASHES + NANS:
            return Failure(reason="nan", detail="the loss is not finite")
        return None


def _made(candidate: Candidate, failure: Failure | None) -> TrialRecord:
    """As if it were measured and fine-tuned at once."""
    share = round(kept_share(candidate.plan), 2)
    numbers = {"params": int(1000 * share), "predicted": 10 * share, "untrained": 0.7 * share}
    ms, score = (None, None) if failure else (10 * share, 0.8 * share)
    state = "failed" if failure else "complete"
    return record(candidate.name, ms, score, number=candidate.number, state=state,
                  plan=candidate.plan, failure=failure, **numbers)  # fmt: skip


def _study(bench: Any, storage: str | None) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    known = Known(fake_profile(bench), 0.5, 0.8)
    return optuna.create_study(
        study_name="soak",
        storage=storage or f"sqlite:///{bench.folder.database}",
        sampler=study_sampler(bench.config.sampler, known, bench.config.seed),
        directions=[objective.direction for objective in OBJECTIVES],
        load_if_exists=True,
    )


def _search(root: Path, storage: str | None, count: int, dice: random.Random | None) -> None:
    bench, listener = fake_bench(root, trials=count, sampler="random"), SearchListener()
    trials.evaluate_untrained = Faulty(root, dice)
    limits = Limits(score_s=HANG_LIMIT_S)
    workers = Here(bench, listener, limits)
    study = _study(bench, storage)
    with suppress(TooManyFailures):
        TrialLoop(bench, study, unlimited(), listener, workers).run()


@dataclass
class _Watch:
    """What is known so far, and what was seen to be wrong."""

    root: Path
    known: dict[int | None, TrialRecord] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def look(self) -> None:
        """Compare the records with those seen before."""
        now = {each.number: each for each in fake_bench(self.root).folder.trial_records()}
        self.wrong += [
            f"trial {number} is lost, or changed"
            for number, each in self.known.items()
            if now.get(number) != each
        ]
        self.known = now


def run(minutes: float = MINUTES, workers: int = WORKERS, storage: str | None = None,
        seed: int = 0) -> Finding:  # fmt: skip
    """Soak, finish, and count."""
    dice, ends = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        watch = _Watch(root)
        wait(fork(lambda: _search(root, storage, 0, None)))  # makes the study

        def begin() -> int:
            own = random.Random(dice.random())
            return fork(lambda: _search(root, storage, NO_LIMIT, own))

        at_work = [begin() for _ in range(workers)]
        until, next_kill = time.monotonic() + 60 * minutes, 0.0
        while time.monotonic() < until:
            time.sleep(0.05)
            if time.monotonic() > next_kill:
                kill(dice.choice(at_work))
                next_kill = time.monotonic() + dice.uniform(*KILL_EVERY_S)
                watch.look()
            for place, pid in enumerate(at_work):
                gone, status = os.waitpid(pid, os.WNOHANG)
                if gone:
                    ends[_ending(os.waitstatus_to_exitcode(status))] += 1
                    at_work[place] = begin()
        for pid in at_work:
            kill(pid)
            wait(pid)
        return _judged(watch, storage, ends, minutes, workers)


def _ending(code: int) -> str:
    """How a search ended, by its exit code."""
    known = {-signal.SIGKILL: "killed", -signal.SIGSEGV: "crashed", 4: "hung", 0: "gave up"}
    return known.get(code, f"exit {code}")


def _judged(
    watch: _Watch, storage: str | None, ends: Counter[str], minutes: float, workers: int
) -> Finding:
    """Finish what is under way, and hold everything against everything."""
    root, wrong = watch.root, watch.wrong
    begun = max(evaluations(root), default=0)
    for _ in range(10):  # a trial may take its process down twice
        if wait(fork(lambda: _search(root, storage, begun + 1, None))) == 0:
            break
    watch.look()
    records = list(watch.known.values())
    told = _study(fake_bench(root), storage).get_trials(deepcopy=False)
    open_ones = [trial.number for trial in told if not trial.state.is_finished()]
    wrong += [f"trials without an end: {open_ones}"] * bool(open_ones)
    without = [trial.number for trial in told if trial.number not in watch.known]
    wrong += [f"trials without a record: {without}"] * bool(without)
    bare = [
        trial.number
        for trial in told
        if trial.state == TrialState.FAIL and not trial.user_attrs.get("failure")
    ]
    wrong += [f"failed without a reason: {bare}"] * bool(bare)
    twice = sum(times - 1 for times in evaluations(root, "done").values())
    wrong += [f"{twice} trials trained twice"] * bool(twice)
    front = {each.name for each in pareto_front(records)}
    wrong += ["the front is not that of brute force"] * (front != brute_force(records))
    reasons = Counter(each.failure.reason for each in records if each.failure)
    found = {
        "minutes": minutes,
        "workers": workers,
        "searches ended": dict(ends),
        "trials": len(told),
        "failed, by reason": dict(reasons),
        "trained twice": twice,
        "front": len(front),
    }
    return Finding(ends.total(), found, wrong)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("minutes", type=float, nargs="?", default=MINUTES)
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--storage", help="where Optuna keeps the study, as it takes it")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    found = run(asked.minutes, asked.workers, asked.storage, asked.seed)
    keep("soak", found)
    PAGE.write_text(page())
    print(f"{found.injected} searches ended and were begun again: {found.found}")
    for sentence in found.wrong:
        print(f"WRONG: {sentence}")
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
