"""Waiting for a database: as long as it makes sense, and no longer."""

from __future__ import annotations

import time

import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import PendingRollbackError

psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")

from autoprune.search.context import database  # noqa: E402
from autoprune.search.context.database import is_operational, patiently  # noqa: E402


@pytest.fixture(autouse=True)
def _patient_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database._Waiting, "in_vain", False)
    monkeypatch.setattr(database, "_PAUSES_S", (0.01, 0.02))


class Server:
    """Answers after so many tries."""

    def __init__(self, tries: int) -> None:
        self.left = tries

    def __call__(self) -> str:
        self.left -= 1
        if self.left >= 0:
            raise psycopg.OperationalError("the server is starting up")
        return "answer"


def test_a_server_that_comes_back_is_waited_for() -> None:
    assert patiently(Server(4), 30.0) == "answer"


def test_what_does_not_pass_by_waiting_is_raised_at_once() -> None:
    def wrong() -> None:
        tried.append(1)
        raise psycopg.ProgrammingError("no such table")

    tried: list[int] = []
    with pytest.raises(psycopg.ProgrammingError):
        patiently(wrong, 30.0)
    assert len(tried) == 1


@pytest.mark.parametrize("why", ["the time is over", "the user interrupts"])
def test_after_waiting_in_vain_nothing_waits_until_there_is_an_answer(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted = why == "the user interrupts"
    with monkeypatch.context() as patch:
        if interrupted:

            def interrupt(_: float) -> None:
                raise KeyboardInterrupt

            patch.setattr(time, "sleep", interrupt)
        with pytest.raises(KeyboardInterrupt if interrupted else psycopg.OperationalError):
            patiently(Server(1000), 30.0 if interrupted else 0.05)
    gone = Server(1000)
    with pytest.raises(psycopg.OperationalError):
        patiently(gone, 30.0)
    assert gone.left == 999
    assert patiently(Server(0), 30.0) == "answer"
    assert patiently(Server(3), 30.0) == "answer", "patient again"


def test_a_second_error_on_a_lost_connection_is_of_the_connection_too() -> None:
    """What Optuna raises where the server goes while trials are read: it asks once more."""
    caught: Exception | None = None
    try:
        try:
            try:
                raise psycopg.OperationalError("server closed the connection unexpectedly")
            except psycopg.OperationalError:
                raise PendingRollbackError("Can't reconnect until it is rolled back")  # noqa: B904
        except PendingRollbackError as error:
            raise StorageInternalError("during the commit") from error
    except StorageInternalError as error:
        caught = error
    assert is_operational(caught)
    assert not is_operational(StorageInternalError("too long a string"))
