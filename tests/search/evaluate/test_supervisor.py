"""What a candidate may take, and what happens where the search itself is the one worker."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from autoprune.domain.record import Failure
from autoprune.search.evaluate import supervisor
from autoprune.search.evaluate.attempts import attempt
from autoprune.search.evaluate.candidate import evaluate_untrained, train_candidate
from autoprune.search.evaluate.supervisor import LEAST_S, LOOK_S, TIMES, Limits, Supervisor
from tests.search.fakes import DENSE, fake_bench

ROOT = Path(__file__).resolve().parents[3]


def test_limits_follow_the_dense_model_and_the_memory_that_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "available_bytes", lambda: 10 * 10**9)
    bench = fake_bench(tmp_path)
    images = tuple(Path(f"{number}.png") for number in range(100))
    bench.data = SimpleNamespace(train=images * 20, selection_images=images)
    bench.fine_tune = replace(bench.fine_tune, epochs=3)
    quick = Limits.of(bench, 2, own_bytes=10**9)
    assert quick.score_s == LEAST_S, "an upset machine ends nothing quick"
    assert quick.most_bytes == 4_500_000_000
    validation_s = sum(score.seconds for score in DENSE.rungs)
    assert quick.train_s == LEAST_S + TIMES * 3 * 2000 * 3 * validation_s / 100
    bench.dense = DENSE.model_copy(update={"seconds": 1000.0})
    slow = Limits.of(bench, 1, own_bytes=10**9)
    assert slow.score_s == 1000 * TIMES
    assert slow.most_bytes == int(0.9 * 11 * 10**9)
    assert Limits.of(bench, 9, own_bytes=10**9).most_bytes == 1_500_000_000, "what one needs"
    assert Limits.of(bench, 30, own_bytes=10**8).most_bytes == 10**9


def test_a_fine_tune_that_is_to_be_cut_short_has_little_more_than_that() -> None:
    limits = Limits(score_s=600, train_s=5000)
    assert limits.seconds(evaluate_untrained, ()) == 600
    assert limits.seconds(train_candidate, ("record", None)) == 5000
    assert limits.seconds(train_candidate, ("record", 100.0)) == 800
    assert limits.seconds(train_candidate, ("record", 9000.0)) == 5000


class Looks:
    """Stands in for the event of the work: so many looks until it is done."""

    def __init__(self, until_done: int) -> None:
        self.left, self.waited = until_done, list[float]()

    def wait(self, seconds: float) -> bool:
        self.waited.append(seconds)
        self.left -= 1
        return self.left < 0

    def is_set(self) -> bool:
        return self.left < 0


def _watched(
    folder: Path, looks: int, most_s: float = 3.0, taken: int = 0
) -> tuple[list[tuple[str, list[str]]], Looks]:
    """Watch work that is done after so many looks; how it was ended, and what was noted by then."""
    ends: list[tuple[str, list[str]]] = []
    folder.mkdir(exist_ok=True)

    def end(why: str) -> None:
        ends.append((why, sorted(path.name for path in folder.iterdir())))

    work: Any = supervisor._Work(4711, folder, most_s, end)
    work.done = event = Looks(looks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervisor, "taken_bytes", lambda pid: taken if pid == 4711 else 0)
        Supervisor(most_bytes=10**9)._watch(work)
    assert work.ended == bool(ends)
    return ends, event


def test_looks_are_counted_and_the_reason_is_noted_before_the_end(tmp_path: Path) -> None:
    """A process that is stopped for an hour has not looked meanwhile."""
    looks = int(3.0 / LOOK_S)
    assert _watched(tmp_path, looks - 1)[0] == []
    ends, event = _watched(tmp_path, 10 * looks)
    assert ends == [("not done after 3 s", [".hung"])]
    assert event.waited == [LOOK_S] * looks, "it is ended once, and looked at no more"


def test_memory_beyond_the_limit_is_another_reason(tmp_path: Path) -> None:
    assert _watched(tmp_path, 2, taken=10**9)[0] == []
    ends, _ = _watched(tmp_path, 2, taken=10**9 + 5_000_000)
    assert ends == [("its process took 1.00 GB of 1.00 GB", [".too-large"])]
    with attempt(tmp_path) as refused:
        assert refused is not None
        assert refused.reason == "oom"


def test_of_work_that_was_done_during_a_look_nothing_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[str] = []
    work = supervisor._Work(os.getpid(), tmp_path, 600.0, ends.append)

    def done_meanwhile(pid: int) -> int:
        work.done.set()
        return 2

    monkeypatch.setattr(supervisor, "LOOK_S", 0.0)
    monkeypatch.setattr(supervisor, "taken_bytes", done_meanwhile)
    Supervisor(most_bytes=1)._watch(work)
    assert (ends, work.ended) == ([], False)
    assert list(tmp_path.iterdir()) == []


def test_work_that_is_ended_a_moment_after_it_was_done_is_not_held_against_its_candidate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "LOOK_S", 0.01)
    ended = threading.Event()
    with Supervisor(sys.maxsize).watching(os.getpid(), tmp_path, 0.0, lambda _: ended.set()):
        assert ended.wait(30)
        assert [path.name for path in tmp_path.iterdir()] == [".hung"]
    assert list(tmp_path.iterdir()) == []


def test_work_that_raises_is_watched_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "LOOK_S", 0.01)
    before = threading.active_count()
    with (
        pytest.raises(ValueError, match="its own"),
        Supervisor(sys.maxsize).watching(os.getpid(), tmp_path, 600.0, lambda _: None),
    ):
        raise ValueError("its own")
    deadline = time.monotonic() + 30
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_memory_is_that_of_a_process_and_all_it_started_without_mapped_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def process(rss: int, shared: int, *children: Any) -> Any:
        return SimpleNamespace(
            memory_info=lambda: SimpleNamespace(rss=rss, shared=shared),
            children=lambda recursive: list(children) if recursive else [],
        )

    def gone() -> Any:
        raise psutil.NoSuchProcess(3)

    child = SimpleNamespace(memory_info=gone)
    parent = process(500, 200, child, process(70, 30))
    monkeypatch.setattr(supervisor.psutil, "Process", lambda pid: parent)
    assert supervisor.taken_bytes(1) == 300 + 40
    monkeypatch.setattr(supervisor.psutil, "Process", lambda pid: gone())
    assert supervisor.taken_bytes(1) == 0


def test_all_that_a_process_started_is_killed_with_it_even_if_one_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed: list[str] = []

    def gone() -> Any:
        raise psutil.NoSuchProcess(3)

    children = [SimpleNamespace(kill=gone), SimpleNamespace(kill=lambda: killed.append("child"))]
    parent = SimpleNamespace(
        kill=lambda: killed.append("parent"),
        children=lambda recursive: children if recursive else [],
    )
    monkeypatch.setattr(supervisor.psutil, "Process", lambda pid: parent)
    supervisor.kill_all(1)
    assert killed == ["child", "parent"]
    monkeypatch.setattr(supervisor.psutil, "Process", lambda pid: gone())
    supervisor.kill_all(1)


_ENDLESS = """
import sys
from pathlib import Path
from types import SimpleNamespace
from autoprune.domain.plan import PruningPlan
from autoprune.search.context.listener import SearchListener
from autoprune.search.evaluate.attempts import attempt
from autoprune.search.evaluate.candidate import Candidate
from autoprune.search.evaluate.supervisor import Limits
from autoprune.search.evaluate.workers import Here
from autoprune.storage.study_folder import StudyFolder

def endless(bench, candidate, listener):
    with attempt(candidate.folder(bench.folder)):
        while True:
            pass

bench = SimpleNamespace(folder=StudyFolder(Path(sys.argv[1])))
here = Here(bench, SearchListener(), Limits(score_s=1.0))
here.begin(endless, Candidate("trial", "trial 7", 7, PruningPlan({0: 0.5})))
"""


def test_the_search_itself_ends_beyond_its_limits_and_the_next_one_knows(tmp_path: Path) -> None:
    command: list[Any] = [sys.executable, "-c", _ENDLESS, str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 4, ended.stderr
    said = "trial 7: not done after 1 s; the same command continues without it"
    assert ended.stderr == f"autoprune: paused: {said}\n"
    with attempt(tmp_path / "trials" / "0007") as refused:
        assert refused == Failure(reason="timeout", detail="not done after 1 s")
