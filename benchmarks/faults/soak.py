"""Soak: several searches on one study, killed, hung and crashed at random for some minutes.

    python -m benchmarks.faults.soak [MINUTES] [--workers 8] [--postgres] [--seed 0]

The loop, the locks, the records and the database are the search's own; an evaluation takes half a
second and sometimes hangs, crashes or fails. Every few seconds a search is killed; whatever ends is
begun again. At the end one search finishes what is under way, and everything is counted. With
--postgres the study is in a server of its own on loopback, which is restarted twice, and each
worker has a folder of its own, some of which are deleted.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from autoprune.domain.front import pareto_front
from autoprune.domain.record import Failure, TrialRecord
from autoprune.errors import StorageFailed, TooManyFailures
from autoprune.search.context.listener import SearchListener
from autoprune.search.evaluate import trials
from autoprune.search.evaluate.attempts import attempt
from autoprune.search.evaluate.candidate import Candidate
from autoprune.search.evaluate.supervisor import Limits
from autoprune.search.evaluate.trials import TrialLoop
from autoprune.search.evaluate.workers import Here
from benchmarks.faults.fake_search import Logged, evaluations
from benchmarks.faults.finding import Finding, keep
from benchmarks.faults.forked import fork, kill, wait
from benchmarks.faults.fronts import brute_force
from benchmarks.faults.page import PAGE, page
from tests.postgres import Postgres, missing, running_server
from tests.search.fakes import fake_bench, fake_study, kept_share, record, unlimited
from tests.search.shared import close_all, shared_bench

MINUTES, WORKERS = 3.0, 4
SECONDS = 0.5  # of an evaluation
HANG_LIMIT_S = 20.0  # longer than the server is away
KILL_EVERY_S = (1.0, 5.0)
LOOK_EVERY_S = 45.0
AWAY_S = 3.0  # of a server between its stop and its start
HANGS, CRASHES, NANS = 0.003, 0.02, 0.05  # shares of the evaluations
FORGETS = 0.1  # of the workers that begin: with a folder that is empty
NO_LIMIT = 1_000_000
NO_DATABASE = 5  # exit code


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
    numbers: dict[str, Any] = {
        "params": int(1000 * share),
        "predicted": 10 * share,
        "untrained": 0.7 * share,
    }
    ms, score = (None, None) if failure else (10 * share, 0.8 * share)
    state = "failed" if failure else "complete"
    return record(candidate.name, ms, score, number=candidate.number, state=state,
                  plan=candidate.plan, failure=failure, **numbers)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where the study is.

    Attributes:
        root: Folder of the study, or of the workers' folders where it is in a database.
        url: The database; None without one.
    """

    root: Path
    url: str | None

    def bench(self, name: str, count: int = NO_LIMIT) -> Any:
        """As a worker sees it; `name` says whose folder."""
        if self.url is None:
            return fake_bench(self.root / "study", count, sampler="random")
        return shared_bench(self.root / name, self.url, count, sampler="random")

    def search(self, name: str, count: int, dice: random.Random | None) -> None:
        """Be a worker until there are so many trials."""
        try:
            if dice is not None and self.url is not None and dice.random() < FORGETS:
                shutil.rmtree(self.root / name, ignore_errors=True)
            bench, listener = self.bench(name, count), SearchListener()
            trials.evaluate_untrained = Faulty(self.root, dice)  # type: ignore[attr-defined]
            workers = Here(bench, listener, Limits(score_s=HANG_LIMIT_S))
            with suppress(TooManyFailures):
                TrialLoop(bench, fake_study(bench), unlimited(), listener, workers).run()
        except StorageFailed:
            os._exit(NO_DATABASE)
        close_all()

    def told(self) -> list[FrozenTrial]:
        """What Optuna knows."""
        bench = self.bench("judge", 0)
        found: list[FrozenTrial] = fake_study(bench).get_trials(deepcopy=False)
        return found

    def finished(self, file: Path) -> None:
        """Write into a file what is known of the finished trials: number -> its hash."""
        told = self.told()  # before the records, each of which is older than that
        records = {each.number: each for each in _records(self.bench("judge", 0))}
        known = {
            trial.number: f"{trial.state} {trial.values} {records.get(trial.number)}"
            for trial in told
            if trial.state.is_finished()
        }
        file.write_text(json.dumps(known))
        close_all()


def _records(bench: Any) -> list[TrialRecord]:
    bench.folder.fetch()
    found: list[TrialRecord] = bench.folder.trial_records()
    return found


@dataclass
class Watch:
    """What is known so far, and what was seen to be wrong."""

    place: Place
    known: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def look(self) -> None:
        """Compare the finished trials with those seen before; a process of its own reads them."""
        file = self.place.root / "seen.json"
        if wait(fork(lambda: self.place.finished(file))) != 0:
            self.wrong.append("the finished trials cannot be read")
            return
        now = json.loads(file.read_text())
        self.wrong += [
            f"trial {number} is lost, or changed: {each[:300]} is now {now.get(number, '')[:300]}"
            for number, each in self.known.items()
            if now.get(number) != each
        ]
        self.known = now


class _Soak:
    """The workers, and what is done to them."""

    def __init__(self, place: Place, workers: int, dice: random.Random) -> None:
        self.place, self.dice = place, dice
        self.ends, self.watch, self.restarts = Counter[str](), Watch(place), 0
        self.at_work = [self._begun(number) for number in range(workers)]

    def _begun(self, number: int) -> int:
        own = random.Random(self.dice.random())
        return fork(lambda: self.place.search(f"worker-{number}", NO_LIMIT, own))

    def run(self, seconds: float, server: Postgres | None) -> None:
        """Kill one every few seconds, begin again what ended; restart the server in between."""
        began = time.monotonic()
        next_kill, next_look = began, began + LOOK_EVERY_S
        stops = [] if server is None else [("immediate", seconds / 3), ("fast", 2 * seconds / 3)]
        while (now := time.monotonic()) < began + seconds:
            time.sleep(0.05)
            if server is not None and stops and now > began + stops[0][1]:
                server.stop(stops.pop(0)[0])
                time.sleep(AWAY_S)
                server.start()
                self.restarts += 1
            if now > next_kill:
                kill(self.dice.choice(self.at_work))
                next_kill = now + self.dice.uniform(*KILL_EVERY_S)
            if now > next_look:
                self.watch.look()
                next_look = time.monotonic() + LOOK_EVERY_S
            self._begin_again()

    def _begin_again(self) -> None:
        for number, pid in enumerate(self.at_work):
            gone, status = os.waitpid(pid, os.WNOHANG)
            if gone:
                self.ends[_ending(os.waitstatus_to_exitcode(status))] += 1
                self.at_work[number] = self._begun(number)

    def end(self) -> None:
        """Kill all."""
        for pid in self.at_work:
            kill(pid)
            wait(pid)


def run(minutes: float = MINUTES, workers: int = WORKERS, postgres: bool = False,
        seed: int = 0) -> Finding:  # fmt: skip
    """Soak, finish, and count."""
    with tempfile.TemporaryDirectory() as folder, _server(postgres) as server:
        url = None if server is None else server.new_database()
        place = Place(Path(folder), url)
        if (code := wait(fork(lambda: place.search("worker-0", 0, None)))) != 0:
            return Finding(0, {}, [f"the study cannot be made: exit {code}"])
        soak = _Soak(place, workers, random.Random(seed))
        try:
            soak.run(60 * minutes, server)
        finally:
            soak.end()
        found, wrong = judged(place, soak.watch)
    where = "a folder" if server is None else f"PostgreSQL, restarted {soak.restarts} times"
    kept_in = {"kept in": where}
    searches = {"minutes": minutes, "workers": workers, "searches ended": dict(soak.ends)}
    return Finding(soak.ends.total(), kept_in | searches | found, wrong)


@contextmanager
def _server(wanted: bool) -> Iterator[Postgres | None]:
    if not wanted:
        yield None
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"listen_addresses": "127.0.0.1", "port": str(port), "fsync": "on"}
    with running_server(settings) as server:
        yield server


def _ending(code: int) -> str:
    """How a search ended, by its exit code."""
    known = {-signal.SIGKILL: "killed", -signal.SIGSEGV: "crashed", 4: "hung", 0: "gave up",
             NO_DATABASE: "no database"}  # fmt: skip
    return known.get(code, f"exit {code}")


def judged(place: Place, watch: Watch) -> tuple[dict[str, Any], list[str]]:
    """Finish what is under way, and hold everything against everything."""
    begun, wrong = max(evaluations(place.root), default=0), watch.wrong
    for _ in range(10):  # a trial may take its process down twice
        if wait(fork(lambda: place.search("worker-0", begun + 1, None))) == 0:
            break
    watch.look()
    told, records = place.told(), _records(place.bench("judge", 0))
    close_all()
    numbers, done = {each.number for each in records}, evaluations(place.root, "done")
    twice = sum(times - 1 for times in done.values())
    states = {
        "without an end": [each.number for each in told if not each.state.is_finished()],
        "without a record": [each.number for each in told if each.number not in numbers],
        "failed without a reason": [
            each.number
            for each in told
            if each.state == TrialState.FAIL and not each.user_attrs.get("failure")
        ],
        "evaluated and lost": sorted(set(done) - numbers),
    }
    wrong += [f"trials {how}: {which}" for how, which in states.items() if which]
    wrong += [f"{twice} trials trained twice"] * bool(twice)
    front = {each.name for each in pareto_front(records)}
    wrong += ["the front is not that of brute force"] * (front != brute_force(records))
    reasons = Counter(each.failure.reason for each in records if each.failure)
    found = {
        "trials": len(told),
        "failed, by reason": dict(reasons),
        "lost": len(states["evaluated and lost"]),
        "trained twice": twice,
        "same plan side by side": _side_by_side(records),
        "front": len(front),
    }
    return found, wrong


def _side_by_side(records: list[TrialRecord]) -> int:
    """Plans scored once more while another worker scored them."""
    fresh = [each for each in records if each.same_as is None and each.state != "failed"]
    return len(fresh) - len({str(each.plan) for each in fresh})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("minutes", type=float, nargs="?", default=MINUTES)
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--postgres", action="store_true", help="in a server started for it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--try", dest="tried", action="store_true", help="keep nothing")
    asked = parser.parse_args()
    if asked.postgres and (why := missing()) is not None:
        raise SystemExit(why)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the server goes too
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found = run(asked.minutes, asked.workers, asked.postgres, asked.seed)
    if not asked.tried:
        keep("soak", found)
        PAGE.write_text(page())
    print(f"{found.injected} searches ended and were begun again: {found.found}")
    for sentence in found.wrong:
        print(f"WRONG: {sentence}")
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
