"""Locks of a study over all machines, on a real server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoprune.search.context import advisory_locks
from autoprune.search.context.advisory_locks import AdvisoryLocks
from autoprune.storage.database_url import DatabaseUrl
from autoprune.storage.locks import Held
from tests.postgres import Postgres

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def pair(database: str) -> Iterator[tuple[AdvisoryLocks, AdvisoryLocks]]:
    """Two workers of one study."""
    both = [AdvisoryLocks(DatabaseUrl.of(database), "study") for _ in range(2)]
    yield both[0], both[1]
    for each in both:
        each.close()


def test_one_at_a_time_holds_a_lock_of_a_study(
    pair: tuple[AdvisoryLocks, AdvisoryLocks], database: str
) -> None:
    one, two = pair
    told: list[str] = []
    other = AdvisoryLocks(DatabaseUrl.of(database), "another study")
    with one.alone("a", None, None):
        for refused in (two, one):  # a process's threads exclude each other too
            with pytest.raises(Held), refused.alone("a", lambda: told.append("waits"), 0):
                pass
        with two.alone("b", None, 0), other.alone("a", None, 0):
            pass
    assert told == ["waits"] * 2 or told == []
    with two.alone("a", None, 0):
        pass
    other.close()


def test_whoever_waits_gets_it_when_it_is_free(pair: tuple[AdvisoryLocks, AdvisoryLocks]) -> None:
    one, two = pair
    told: list[str] = []
    free, done = threading.Event(), threading.Event()

    def hold() -> None:
        with one.alone("a", None, None):
            done.set()
            free.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    done.wait(30)
    threading.Timer(0.2, free.set).start()
    with two.alone("a", lambda: told.append("waits"), 30):
        assert free.is_set()
    holder.join()
    assert told == ["waits"]


def test_a_killed_holder_holds_nothing(
    pair: tuple[AdvisoryLocks, AdvisoryLocks], database: str
) -> None:
    code = (
        "import os, time\n"
        "from autoprune.search.context import advisory_locks\n"
        "from autoprune.storage.database_url import DatabaseUrl\n"
        "advisory_locks.RECONNECT_S = 0.0\n"
        "locks = advisory_locks.AdvisoryLocks(DatabaseUrl.of(os.environ['DATABASE']), 'study')\n"
        "with locks.alone('a', None, None):\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    environment = {**os.environ, "DATABASE": database}
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Held), pair[0].alone("a", None, 0):
            pass
        os.kill(holder.pid, signal.SIGKILL)
        with pair[0].alone("a", None, 30):
            pass


def test_a_server_that_restarts_gives_locks_back_to_who_held_them(
    pair: tuple[AdvisoryLocks, AdvisoryLocks], postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = pair
    with one.alone("a", None, None):
        postgres.stop()
        threading.Timer(0.5, postgres.start).start()
        monkeypatch.setattr(advisory_locks, "RECONNECT_S", 6.0)
        began = time.monotonic()
        with two.alone("b", None, None):  # waits until the server is back, and until all are
            pass
        assert time.monotonic() - began > 3
        with pytest.raises(Held), two.alone("a", None, 0):
            pass
