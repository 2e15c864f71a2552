"""A real PostgreSQL server for tests: in a temporary folder, behind a socket, gone at the end."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

PASSWORD = "s3cret word"  # with a space, which URLs write as %20
_SETTINGS = {"listen_addresses": "", "port": "5432", "fsync": "off", "max_connections": "200"}


class Postgres:
    """One server.

    Args:
        programs: Folder of initdb and pg_ctl.
        folder: Its data and its socket, removed by whoever made it.
        settings: Of the server, over those of the tests.
    """

    def __init__(self, programs: Path, folder: Path, settings: Mapping[str, str]) -> None:
        self.programs, self.folder = programs, folder
        own = {"unix_socket_directories": str(folder)}
        self.settings = _SETTINGS | own | dict(settings)
        self.made = 0
        self.tables: str | None = None

    def start(self) -> None:
        given = " ".join(f"-c {name}='{value}'" for name, value in self.settings.items())
        self._run("pg_ctl", "-w", "-s", "-l", str(self.folder / "log"), "-o", given, "start")

    def stop(self, mode: str = "immediate") -> None:
        self._run("pg_ctl", "-w", "-s", "-m", mode, "stop")

    def initialise(self) -> None:
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
            shutil.chown(secret, "postgres")
        given = ("-A", "scram-sha-256", "-U", "tester", f"--pwfile={secret}", "-N")
        self._run("initdb", *given)

    def url(self, database: str = "postgres", password: str = PASSWORD) -> str:
        """As a user writes it: of the address that it listens on, else of its socket."""
        secret, port = quote(password, safe=""), self.settings["port"]
        host = self.settings["listen_addresses"] or self.folder
        return f"postgresql+psycopg://tester:{secret}@/{database}?host={host}&port={port}"

    def new_database(self, template: str = "template0") -> str:
        """The URL of a new one, empty or a copy of another one's."""
        import psycopg

        self.made += 1
        name = f"test_{self.made}"
        given = {"host": str(self.folder), "user": "tester", "password": PASSWORD}
        given["port"] = self.settings["port"]
        with psycopg.connect(**given, dbname="postgres", autocommit=True) as opened:
            opened.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def database_with_tables(self) -> str:
        """The URL of a new one, in which Optuna's tables are made already; that takes a second."""
        from autoprune.search.evaluate.storage import Storage

        if self.tables is None:
            url = self.new_database()
            Storage.checked(url).study("none").close()
            self.tables = f"test_{self.made}"
        return self.new_database(self.tables)

    def _run(self, program: str, *given: str) -> None:
        command = [str(self.programs / program), "-D", str(self.folder / "data"), *given]
        if os.geteuid() == 0:  # whom the server refuses
            command = ["runuser", "-u", "postgres", "--", *command]
        done = subprocess.run(
            command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        assert done.returncode == 0, done.stdout


def missing() -> str | None:
    """Why there can be no server here; None where there can."""
    if _programs() is None:
        return "PostgreSQL is not installed"
    if os.geteuid() == 0 and not _has_user("postgres"):
        return "PostgreSQL refuses root, and there is no user postgres"
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed"
    return None


@contextlib.contextmanager
def running_server(
    settings: Mapping[str, str] = MappingProxyType({}), parent: Path | None = None
) -> Iterator[Postgres]:
    """A server that is stopped and removed at the end; `settings` change those of the tests."""
    programs = _programs()
    assert programs is not None
    # short: a socket's path has 107 characters
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=parent))
    server = Postgres(programs, folder, settings)
    try:
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path | None:
    found = shutil.which("pg_ctl")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "initdb").exists()), None)


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
