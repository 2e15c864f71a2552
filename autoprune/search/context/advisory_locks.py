"""Locks of a study over all machines: PostgreSQL's advisory locks, which their holder's end frees.

One connection of a process holds all its locks. If the server restarts, a thread takes them again
before anybody new may: see RECONNECT_S.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from autoprune.errors import StorageFailed
from autoprune.search.context.database import connect, patiently
from autoprune.storage.database_url import DatabaseUrl
from autoprune.storage.locks import Held

if TYPE_CHECKING:
    import psycopg

RECONNECT_S = 10.0  # after a restart, in which only those take locks who held them before
_LOOK_S = 2.0  # between two looks whether the connection still stands
_ASK_S = 0.01, 1.0  # between two tries to take a lock that is held, at first and later


class AdvisoryLocks:
    """The locks of one study.

    Args:
        url: The database.
        study: The study's name: locks of another one are others.
    """

    def __init__(self, url: DatabaseUrl, study: str) -> None:
        self.url, self.study = url, study
        self._held: set[str] = set()
        self._guard = threading.RLock()  # of the connection and of what is held
        self._connection: psycopg.Connection[Any] | None = None
        self._keeper: threading.Thread | None = None
        self._closed = threading.Event()

    @contextmanager
    def alone(
        self, name: str, when_held: Callable[[], None] | None, timeout_s: float | None
    ) -> Iterator[None]:
        """See `storage.locks.alone`.

        Raises:
            Held: It was not free in that time.
            StorageFailed: The database cannot be reached.
        """
        self._take(name, when_held, timeout_s)
        try:
            yield
        finally:
            self._release(name)

    def holds(self, name: str) -> bool:
        """Whether this process holds a lock."""
        return name in self._held

    def close(self) -> None:
        """Free all of them."""
        self._closed.set()
        with self._guard:
            self._held.clear()
            self._drop()

    def _take(
        self, name: str, when_held: Callable[[], None] | None, timeout_s: float | None
    ) -> None:
        ends = None if timeout_s is None else time.monotonic() + timeout_s
        pause_s, said = _ASK_S[0], False
        while not self._taken(name):
            if ends is not None and time.monotonic() >= ends:
                raise Held(name)
            if when_held is not None and not said:
                when_held()
                said = True
            time.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 (not all at once)
            pause_s = min(2 * pause_s, _ASK_S[1])

    def _taken(self, name: str) -> bool:
        """Take a free lock. This process counts as another one: its threads exclude each other."""
        with self._guard:
            if name in self._held:
                return False
            if self._ask("SELECT pg_try_advisory_lock(%s)", self._key(name)):
                self._held.add(name)
                return True
            return False

    def _release(self, name: str) -> None:
        with self._guard, suppress(StorageFailed):
            if name in self._held:
                self._held.discard(name)
                self._ask("SELECT pg_advisory_unlock(%s)", self._key(name))

    def _key(self, name: str) -> int:
        whole = name if name.startswith("/") else f"{self.study}/{name}"  # or of all studies
        digest = hashlib.sha256(f"autoprune {whole}".encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)

    def _ask(self, query: str, *given: Any) -> Any:
        """One value from the server; connects, and connects again, as long as it takes.

        Raises:
            StorageFailed: It does not answer for long.
        """
        import psycopg

        def once() -> Any:
            try:
                row = self._connected().execute(query, given).fetchone()
            except psycopg.OperationalError:
                self._drop()
                raise
            return None if row is None else row[0]

        try:
            return patiently(once)
        except psycopg.Error as error:
            raise StorageFailed(f"{self.url.shown}: {' '.join(str(error).split())}") from None

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is not None:
            return self._connection
        connection = connect(self.url)
        connection.autocommit = True
        connection.execute("SET application_name = 'autoprune: locks'")
        for name in sorted(self._held):  # first: whoever held them goes before anybody new
            connection.execute("SELECT pg_try_advisory_lock(%s)", (self._key(name),))
        up = connection.execute("SELECT extract(epoch FROM now() - pg_postmaster_start_time())")
        up_s = float((up.fetchone() or (RECONNECT_S,))[0])
        self._connection = connection
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._keep, daemon=True, name="autoprune-locks")
            self._keeper.start()
        time.sleep(max(0.0, RECONNECT_S - up_s))
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(Exception):
                self._connection.close()
        self._connection = None

    def _keep(self) -> None:
        """Notice a lost connection, and take the locks again, while nothing else is asked."""
        while not self._closed.wait(_LOOK_S):
            with self._guard, suppress(StorageFailed):
                if self._held and not self._closed.is_set():
                    self._ask("SELECT true")
