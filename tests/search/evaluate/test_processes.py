"""Real worker processes: side by side, told and killed; none outlives its search."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from autoprune.domain.plan import PruningPlan
from autoprune.domain.record import TrialRecord
from autoprune.errors import ConfigError, TooManyFailures, TrialFailed
from autoprune.evaluation import watchdog
from autoprune.search.context.listener import SearchListener
from autoprune.search.evaluate import processes
from autoprune.search.evaluate.attempts import attempt
from autoprune.search.evaluate.candidate import Candidate
from autoprune.search.evaluate.processes import CannotStart, Processes
from autoprune.search.evaluate.supervisor import Limits
from autoprune.storage.study_folder import StudyFolder
from tests.search.fakes import failed, scored

ROOT = Path(__file__).resolve().parents[3]


def candidate(number: int = 0) -> Candidate:
    return Candidate("trial", f"trial {number}", number, PruningPlan({0: 0.5}))


# -- what the workers are asked to do; they import it from here ---------------------------------


def score(bench: Any, given: Candidate, listener: SearchListener, *more: Any) -> TrialRecord:
    print("a stray line, which must not come between")
    listener.stage("validate")
    listener.epoch(1, 3)
    return scored(given.number or 0, 4.0, bench.untrained, started=f"process {os.getpid()}")


def meet(bench: Any, given: Candidate, listener: SearchListener) -> TrialRecord:
    """Wait until another worker does the same."""
    folder = Path(bench.root)
    (folder / given.name).touch()
    deadline = time.monotonic() + 30
    while len(list(folder.glob("trial *"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    return scored(given.number or 0, 4.0, len(list(folder.glob("trial *"))) / 2)


def sees(bench: Any, given: Candidate, listener: SearchListener) -> TrialRecord:
    return scored(given.number or 0, 4.0, 0.5, started=os.environ[processes.VISIBLE])


def wrong(bench: Any, given: Candidate, listener: SearchListener, own: bool) -> TrialRecord:
    raise TrialFailed("nan", "not finite") if own else ConfigError("data.yaml: names: got 3")


def deadly(bench: Any, given: Candidate, listener: SearchListener) -> TrialRecord:
    with attempt(given.folder(bench.folder)) as refused:
        if refused is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return failed(given).model_copy(update={"failure": refused})


def done_and_dead(bench: Any, given: Candidate, listener: SearchListener) -> TrialRecord:
    """Die after the record is written, before the search is told."""
    with attempt(given.folder(bench.folder)):
        bench.folder.save_record(scored(given.number or 0, 4.0, 0.5, started=str(os.getpid())))
        os._exit(3)


def endless(bench: Any, given: Candidate, listener: SearchListener) -> TrialRecord:
    """Compute for ever, in a process of its own too."""
    with attempt(given.folder(bench.folder)) as refused:
        if refused is not None:
            return failed(given).model_copy(update={"failure": refused})
        child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        (Path(bench.root) / "child").write_text(str(child.pid))
        while True:
            pass


def greedy(bench: Any, given: Candidate, listener: SearchListener) -> TrialRecord:
    """Take ever more memory."""
    with attempt(given.folder(bench.folder)) as refused:
        if refused is not None:
            return failed(given).model_copy(update={"failure": refused})
        taken = []
        while True:
            taken.append(b"x" * 50_000_000)
            time.sleep(0.02)


def hang(bench: Any, given: Candidate, listener: SearchListener) -> TrialRecord:
    """Read what never comes, where no signal interrupts it."""
    with attempt(Path(bench.root) / given.name) as refused:
        if refused is not None:
            return failed(given).model_copy(update={"failure": refused})
        (Path(bench.root) / f"begun {time.monotonic_ns()}").touch()
        image = Path(bench.root) / "image.png"
        os.mkfifo(image)
        watchdog.LOOK_S, watchdog.IDLE_S, watchdog.GRACE_S = 0.2, 0.6, 0.4
        with watchdog.watched("validation"):
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
            os.open(image, os.O_RDONLY)
    raise AssertionError("it went on")


def die(bench: Any, given: Candidate, listener: SearchListener) -> TrialRecord:
    print("the last words", file=sys.stderr, flush=True)
    os._exit(7)


# -----------------------------------------------------------------------------------------------


class Told(SearchListener):
    def __init__(self) -> None:
        self.events: list[Any] = []

    def candidate(self, name: str, position: int | None, total: int | None) -> None:
        self.events.append(name)

    def say(self, text: str) -> None:
        self.events.append(text)

    def stage(self, name: str) -> None:
        self.events.append(name)

    def epoch(self, done: int, total: int) -> None:
        self.events.append((done, total))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workers")


@pytest.fixture(scope="module")
def two(root: Path) -> Iterator[Processes]:
    bench: Any = SimpleNamespace(untrained=0.25, root=str(root), folder=StudyFolder(root))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "_for_workers", lambda bench: bench)
        made = Processes(bench, 2, 1, Told(), gpus=(3, 5))
    yield made
    made.close()


def _all(workers: Processes, futures: list[Future[TrialRecord]]) -> list[TrialRecord]:
    while not all(future.done() for future in futures):
        workers.wait([future for future in futures if not future.done()])
    return [future.result() for future in futures]


def test_records_come_back_and_what_a_worker_tells_is_passed_on(two: Processes) -> None:
    told = two.listener = Told()
    made = _all(two, [two.begin(score, candidate(number)) for number in range(5)])
    assert [record.number for record in made] == [0, 1, 2, 3, 4]
    assert {record.untrained_map50_95 for record in made} == {0.25}
    assert str(os.getpid()) not in {record.started.split()[1] for record in made}
    assert told.events.count("validate") == told.events.count((1, 3)) == 5
    assert "trial 0, trial 1" in told.events


def test_two_work_side_by_side(two: Processes) -> None:
    made = _all(two, [two.begin(meet, candidate(number)) for number in (10, 11)])
    assert [record.untrained_map50_95 for record in made] == [1.0, 1.0]


def test_each_worker_sees_a_gpu_of_its_own(two: Processes) -> None:
    seen = [_all(two, [two.begin(sees, candidate(40 + place))])[0] for place in range(2)]
    assert {record.started for record in seen} == {"3", "5"}


def test_an_error_that_is_no_candidates_fault_comes_back(two: Processes) -> None:
    ours, of_two_arguments = (
        two.begin(wrong, candidate(), False),
        two.begin(wrong, candidate(), True),
    )
    two.wait([ours])
    with pytest.raises(ConfigError, match="names: got 3"):
        ours.result()
    with pytest.raises(RuntimeError, match="TrialFailed: nan: not finite"):
        of_two_arguments.result(60)


def test_a_worker_that_dies_is_replaced_until_its_candidate_is_given_up(two: Processes) -> None:
    deaths, other = two.begin(deadly, candidate(20)), two.begin(score, candidate(21))
    made = _all(two, [deaths, other])
    assert [record.state for record in made] == ["failed", "scored"]
    assert made[0].failure is not None
    assert made[0].failure.reason == "oom"  # nobody else kills a process by itself
    assert _all(two, [two.begin(score, candidate(22))])[0].state == "scored"


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no such signals")
def test_a_hang_that_ends_a_worker_is_recorded_with_its_file_and_not_repeated(
    two: Processes, root: Path
) -> None:
    (made,) = _all(two, [two.begin(hang, candidate(25))])
    assert made.failure is not None
    assert made.failure.reason == "timeout"
    assert made.failure.detail.startswith(f"validation hangs at {root / 'image.png'}: nothing was")
    assert len(list(root.glob("begun *"))) == 1
    assert _all(two, [two.begin(score, candidate(26))])[0].state == "scored"


def test_a_record_written_before_the_death_is_not_made_again(two: Processes, root: Path) -> None:
    (made,) = _all(two, [two.begin(done_and_dead, candidate(40))])
    assert made == StudyFolder(root).reread(made)
    assert int(made.started) not in (worker.pid for worker in two._all)
    assert not list(root.rglob("trials/*/.*"))


@pytest.mark.parametrize(
    ("work", "limits", "reason", "detail"),
    [
        (endless, Limits(score_s=10.0), "timeout", "not done after 10 s"),
        (greedy, Limits(most_bytes=10**9), "oom", "GB of 1.00 GB"),
    ],
)
def test_beyond_its_limits_a_worker_is_ended_with_all_it_started(
    two: Processes,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    work: Any,
    limits: Limits,
    reason: str,
    detail: str,
) -> None:
    monkeypatch.setattr(two, "limits", limits)
    monkeypatch.setattr(two._supervisor, "most_bytes", limits.most_bytes)
    (made,) = _all(two, [two.begin(work, candidate(50 + len(reason)))])
    assert made.failure is not None
    assert made.failure.reason == reason
    assert detail in made.failure.detail
    if work is endless:
        assert not psutil.pid_exists(int((root / "child").read_text()))
    assert _all(two, [two.begin(score, candidate(51))])[0].state == "scored"
    assert not list(root.rglob("trials/*/.*"))


def test_workers_that_die_for_no_candidates_sake_end_the_search_with_their_last_words(
    two: Processes,
) -> None:
    future = two.begin(die, candidate(30))
    two.wait([future])
    with pytest.raises(TooManyFailures, match="exit status 7, the last words"):
        future.result()


def test_a_worker_that_does_not_come_up_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_for_workers", lambda bench: bench)
    monkeypatch.setattr(processes, "PROGRAM", "raise SystemExit('no such module')")
    with pytest.raises(CannotStart, match="exit status 1, no such module"):
        Processes(SimpleNamespace(folder=None), 1, 1, Told())  # type: ignore[arg-type]
