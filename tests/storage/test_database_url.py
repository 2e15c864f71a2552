"""A database's URL is taken apart once; its password is in no text that anybody sees."""

from __future__ import annotations

import pytest

from autoprune.errors import ConfigError
from autoprune.storage.database_url import DatabaseUrl, masked, without_password

PLAIN = "postgresql+psycopg://ada:s3cret%20word@db.example:5433/studies?sslmode=require"


@pytest.mark.parametrize("dialect", ["postgresql+psycopg", "postgresql", "postgres"])
def test_a_url_becomes_the_keywords_of_a_connection(dialect: str) -> None:
    url = DatabaseUrl.of(PLAIN.replace("postgresql+psycopg", dialect))
    assert url.connection == {
        "host": "db.example",
        "port": 5433,
        "user": "ada",
        "password": "s3cret word",
        "dbname": "studies",
        "sslmode": "require",
    }
    assert url.shown == "postgresql+psycopg://ada:***@db.example:5433/studies?sslmode=require"


def test_a_socket_needs_no_host_and_a_password_may_stand_at_the_end() -> None:
    url = DatabaseUrl.of("postgresql://ada@/studies?host=/run/pg&password=s3cret")
    assert url.connection["host"] == "/run/pg"
    assert url.connection["password"] == "s3cret"
    assert "s3cret" not in f"{url} {url!r} {url.shown}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "studies",
        "sqlite:///study.db",
        "mysql://ada:s3cret@host/studies",
        "postgresql+psycopg2://ada:s3cret@host/studies",
        "postgresql+psycopg://ada:s3cret@host",
        "postgresql+psycopg://ada:s3cret@host:port/studies",
        "postgresql+psycopg:/ada:s3cret@host/studies",
    ],
)
def test_another_one_is_refused_in_one_line_without_its_password(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        DatabaseUrl.of(text)
    assert str(caught.value).startswith("--storage: got ")
    assert "expected postgresql+psycopg://" in str(caught.value)
    assert "s3cret" not in str(caught.value).replace("psycopg:/ada:s3cret@", "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at postgresql://ada:s3cret@host/x, no", "at postgresql://ada:***@host/x, no"),
        ("a://u:p@ss:w/rd@host/x b://u:two@h", "a://u:***@host/x b://u:***@h"),
        ("x?password=s3cret&sslmode=require", "x?password=***&sslmode=require"),
        ("host=h password=s3cret dbname=x", "host=h password=*** dbname=x"),
        ("https://host:8080/path and a@b", "https://host:8080/path and a@b"),
    ],
)
def test_passwords_in_texts_are_hidden(text: str, shown: str) -> None:
    assert masked(text) == shown


def test_a_password_leaves_the_command_line() -> None:
    for given in (["--storage", PLAIN], [f"--storage={PLAIN}"]):
        line = ["python", "autoprune", "worker", *given, "--study", "a"]
        assert without_password(line) == (["python", "autoprune", "worker", "--study", "a"], PLAIN)
    harmless = ["autoprune", "report", "--storage", "postgresql://ada@host/x", "--study", "a"]
    assert without_password(harmless) == (harmless, None)
    assert without_password(["autoprune", "--storage"]) == (["autoprune", "--storage"], None)
