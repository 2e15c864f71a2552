"""Connections to a PostgreSQL database: the first one fails at once, later ones wait for it."""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from autoprune.errors import ConfigError, StorageFailed
from autoprune.storage.database_url import DatabaseUrl, masked

if TYPE_CHECKING:
    import psycopg

PATIENCE_S = 300.0  # for a server that restarts, or has no connection left
FIRST_PATIENCE_S = 30.0  # where many workers begin at once
_CONNECT_S = 10  # seconds for one try
_PAUSES_S = 0.1, 5.0  # between two tries, at least and at most
# A machine that is gone says no goodbye: its locks are free after 15 + 3 * 5 s.
_KEEPALIVES = {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}
_SERVER_KEEPALIVES = " ".join(f"-c tcp_{name}={value}" for name, value in _KEEPALIVES.items())
_NOT_NOW = re.compile(r"too many|remaining connection slots|starting up|shutting down|recovery")

Found = TypeVar("Found")


class _Waiting:
    """Of this process."""

    in_vain = False


def connect(url: DatabaseUrl) -> psycopg.Connection[Any]:
    """One more connection.

    Raises:
        psycopg.OperationalError: Not now.
    """
    import psycopg

    logging.getLogger("psycopg").setLevel(logging.ERROR)  # it tells what it ignores; errors come
    options = f"{url.connection.get('options', '')} {_SERVER_KEEPALIVES}".strip()
    given = {"connect_timeout": _CONNECT_S, **_KEEPALIVES, **url.connection, "options": options}
    return psycopg.connect(**given, autocommit=False)


def check_database(url: DatabaseUrl) -> None:
    """Connect once, to say in the first second what is wrong.

    Raises:
        ConfigError: No driver, a wrong password, user or database.
        StorageFailed: No server answers.
    """
    try:
        import psycopg
    except ImportError:
        raise ConfigError(
            f'--storage: {url.shown} needs the package psycopg: pip install "autoprune[postgres]"'
        ) from None
    try:
        patiently(lambda: connect(url), FIRST_PATIENCE_S, is_busy).close()
    except psycopg.Error as error:
        reason = masked(" ".join(str(error).split()))
        if "FATAL" in reason or not isinstance(error, psycopg.OperationalError):
            raise ConfigError(f"--storage: {url.shown}: {reason}") from None
        raise StorageFailed(f"--storage: {url.shown}: {reason}") from None


def is_busy(error: Exception) -> bool:
    """Whether a server answers that it takes no connection just now."""
    return _NOT_NOW.search(str(error)) is not None


def patiently(
    work: Callable[[], Found],
    most_s: float = PATIENCE_S,
    passes: Callable[[Exception], bool] | None = None,
) -> Found:
    """Do what needs the database, again until it answers.

    Once that was in vain, or the user has interrupted it, nothing waits until it answers again:
    what a search does at its end takes no longer for it.

    Args:
        work: May be done twice, where the answer to the first time was lost.
        most_s: Seconds until the error is raised all the same.
        passes: Whether an error goes by itself; by default what psycopg says of a connection.

    Raises:
        Exception: Of `work`: one that does not pass, or the last one.
    """
    ends = time.monotonic() + (0.0 if _Waiting.in_vain else most_s)
    pause_s = _PAUSES_S[0]
    while True:
        try:
            found = work()
        except Exception as error:
            if not (passes or is_operational)(error):
                raise
            if time.monotonic() + pause_s > ends:
                _Waiting.in_vain = True
                raise
        else:
            _Waiting.in_vain = False
            return found
        try:
            time.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 (not all at once)
        except KeyboardInterrupt:
            _Waiting.in_vain = True
            raise
        pause_s = min(2 * pause_s, _PAUSES_S[1])


def is_operational(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, is about the connection and not about the query.

    Where a connection is lost, Optuna may ask once more on it: that error is raised while the first
    one is handled, and is not its cause.
    """
    import psycopg

    while error is not None:
        if isinstance(error, psycopg.OperationalError):
            return True
        error = error.__cause__ or error.__context__
    return False
