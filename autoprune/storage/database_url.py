"""Where a study's database is: its URL, taken apart, and never shown with its password."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from autoprune.errors import ConfigError

VARIABLE = "AUTOPRUNE_STORAGE"
EXPECTED = "postgresql+psycopg://user:password@host:port/database"
_DIALECTS = ("postgresql", "postgres", "postgresql+psycopg")
_SECRET_KEYS = ("password", "sslpassword", "passfile")
_HIDDEN = "***"


@dataclass(frozen=True)
class DatabaseUrl:
    """A PostgreSQL database.

    Attributes:
        shown: The URL without its password.
        connection: Keywords of `psycopg.connect`, the password among them; no `repr` shows them.
    """

    shown: str
    connection: dict[str, Any] = field(repr=False, compare=False)

    @classmethod
    def of(cls, text: str) -> DatabaseUrl:
        """Take a URL apart.

        Raises:
            ConfigError: It is none, or of another kind of database; the message hides the password.
        """
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            url = make_url(text)
            query = {key: value for key, value in url.query.items() if isinstance(value, str)}
        except (ArgumentError, ValueError):
            raise ConfigError.of("--storage", "", masked(text), EXPECTED) from None
        if url.drivername not in _DIALECTS or not (url.database or query.get("dbname")):
            raise ConfigError.of("--storage", "", masked(text), EXPECTED)
        given = {
            "host": url.host,
            "port": url.port,
            "user": url.username,
            "password": url.password,
            "dbname": url.database,
        }
        connection = {key: value for key, value in given.items() if value is not None} | query
        harmless = {key: value for key, value in query.items() if key not in _SECRET_KEYS}
        hidden = url.set(drivername="postgresql+psycopg", query=harmless)
        return cls(hidden.render_as_string(hide_password=True), connection)


def without_password(arguments: Sequence[str]) -> tuple[list[str], str | None]:
    """A command line without its `--storage`, if that holds a password; and what it was."""
    kept, url, place = list(arguments), None, 0
    while place < len(kept):
        flag, joined, value = kept[place].partition("=")
        apart = not joined and place + 1 < len(kept)
        given = kept[place + 1] if apart else value
        if flag == "--storage" and masked(given) != given:
            url = given
            del kept[place : place + (2 if apart else 1)]
        else:
            place += 1
    return kept, url


def masked(text: str) -> str:
    """The text with the passwords of all URLs in it hidden, also of broken ones."""
    text = re.sub(r"(://[^\s:@/]*:)\S*@", rf"\g<1>{_HIDDEN}@", text)
    keys = "|".join(_SECRET_KEYS)
    return re.sub(rf"\b({keys})=[^&\s'\"]*", rf"\g<1>={_HIDDEN}", text)
