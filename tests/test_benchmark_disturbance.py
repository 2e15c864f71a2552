"""The helpers of a benchmark: what they stop goes on afterwards, and none of them outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks.lib.disturbance import ROOT, Tree, busy_neighbour, half_speed

pytestmark = pytest.mark.skipif(os.name != "posix", reason="stops processes by signals")

# a child in a session of its own, as a latency measurement is, and a grandchild that is orphaned
SEARCH = """
import subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(300)"]
orphan = "import subprocess, sys; subprocess.Popen(sys.argv[1:])"
subprocess.Popen(sleep, start_new_session=True)
subprocess.Popen([sys.executable, "-c", orphan, *sleep]).wait()
print("ready", flush=True)
time.sleep(300)
"""


def until(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + 30
    while not holds() and time.monotonic() < end:
        time.sleep(0.005)
    return holds()


@pytest.fixture
def search() -> Iterator[Tree]:
    """Three processes; whatever a test does, none is left."""
    command = [sys.executable, "-c", SEARCH]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE) as leader:
        tree = Tree(leader.pid)
        try:
            assert leader.stdout is not None
            assert leader.stdout.readline() == b"ready\n"
            assert len(members(tree)) == 3
            yield tree
        finally:
            for each in members(tree):
                each.kill()


def members(tree: Tree) -> list[psutil.Process]:
    tree.look()
    return [each for each in tree._seen.values() if each.is_running()]


def stopped(processes: list[psutil.Process]) -> bool:
    return all(each.status() == psutil.STATUS_STOPPED for each in processes)


def none_stopped(processes: list[psutil.Process]) -> bool:
    return not any(each.status() == psutil.STATUS_STOPPED for each in processes)


def test_all_are_stopped_and_continued_by_turns_and_run_afterwards(search: Tree) -> None:
    processes = members(search)
    with half_speed(search.leader):
        for _ in range(2):
            assert until(lambda: stopped(processes))
            assert until(lambda: none_stopped(processes))
    assert none_stopped(processes)
    time.sleep(0.3)
    assert none_stopped(processes)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_when_the_helper_dies_all_go_on_at_once(search: Tree, number: signal.Signals) -> None:
    processes = members(search)
    with half_speed(search.leader):
        assert until(lambda: stopped(processes))
        (helper,) = helpers()
        helper.send_signal(number)
        helper.wait(timeout=30)
        assert until(lambda: none_stopped(processes))
        time.sleep(0.3)
        assert none_stopped(processes)


def helpers() -> list[psutil.Process]:
    mine = psutil.Process().children(recursive=True)
    return [each for each in mine if "benchmarks.lib.disturbance" in each.cmdline()]


def test_an_error_ends_the_helper_and_leaves_all_running(search: Tree) -> None:
    processes = members(search)

    def interrupted() -> None:
        with half_speed(search.leader):
            assert until(lambda: stopped(processes))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert none_stopped(processes)
    assert helpers() == []


def test_the_helper_ends_when_what_it_stops_does(search: Tree) -> None:
    with half_speed(search.leader):
        assert until(lambda: len(helpers()) == 1)
        search.end(wait_s=5)
        assert until(lambda: helpers() == [])


def test_ending_a_search_ends_all_it_started_stopped_or_not(search: Tree) -> None:
    processes = members(search)
    search.stop()
    assert until(lambda: stopped(processes))
    search.end(wait_s=5)
    assert not any(each.is_running() and each.status() != "zombie" for each in processes)


def test_the_neighbour_computes_and_ends_with_the_body() -> None:
    with busy_neighbour():
        (neighbour,) = helpers()
        assert until(lambda: neighbour.cpu_times().user > 0.5)
    assert helpers() == []


def test_a_killed_benchmark_leaves_no_helper_and_nothing_stopped(
    tmp_path: Path, search: Tree
) -> None:
    processes = members(search)
    program = (
        "import sys, time\n"
        "from benchmarks.lib.disturbance import busy_neighbour, half_speed\n"
        "with busy_neighbour(), half_speed(int(sys.argv[1])):\n    time.sleep(300)\n"
    )
    command = [sys.executable, "-c", program, str(search.leader)]
    with subprocess.Popen(command, cwd=ROOT) as benchmark:
        try:
            assert until(lambda: stopped(processes))
            left = psutil.Process(benchmark.pid).children()
            assert len(left) == 2
        finally:
            benchmark.kill()
    gone, _ = psutil.wait_procs(left, timeout=30)
    assert len(gone) == 2
    assert none_stopped(processes)
