"""Before anything else: quiet libraries and one thread; caches of results go to a folder of ours.

On a busy machine two torch or BLAS threads spin and are slower. Then: which tests are fast, and how
several workers divide them (tests/tiers.py).
"""

from __future__ import annotations

import gc
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

from autoprune.evaluation.quiet import prepare_environment  # noqa: E402

prepare_environment()

import pytest  # noqa: E402

from tests.forks import Forks  # noqa: E402
from tests.postgres import Postgres, missing, running_server  # noqa: E402
from tests.tiers import is_slow, is_thorough, turn, unit  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    """For who has no time for all of a tier at once."""
    said = "of the tests chosen, run every third only, beginning with this one"
    parser.addoption("--third", type=int, choices=(1, 2, 3), default=None, help=said)


def pytest_configure(config: pytest.Config) -> None:
    """Where nothing is asked for, the thorough tests are left out."""
    asked = config.option.markexpr or config.option.keyword
    if not asked and config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.option.markexpr = "not thorough"  # for xdist's workers too


def pytest_itemcollected(item: pytest.Item) -> None:
    """What is listed neither as slow nor as thorough is fast."""
    thorough = is_thorough(item.nodeid)
    slow = thorough or is_slow(item.nodeid)
    item.add_marker(pytest.mark.slow if slow else pytest.mark.fast)
    if thorough:
        item.add_marker(pytest.mark.thorough)


@pytest.hookimpl(trylast=True)  # once -m and -k have chosen
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest first; of all, the third that is asked for."""
    if third := config.getoption("third"):
        chosen = items[third - 1 :: 3]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen
    items.sort(key=lambda item: turn(item.nodeid))


def pytest_collection_finish() -> None:
    """What is imported stays: looking through it for garbage is a tenth of what an export takes."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """For `-n auto`: every core that this process may use; one file needs no second process."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    files = {argument.partition("::")[0] for argument in config.args}
    if len(files) == 1 and files.pop().endswith(".py"):
        return 0
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """For `--dist loadfile`: a file is never divided, and what wants to be alone is one file."""
    from xdist.scheduler import LoadFileScheduling

    class Units(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return unit(nodeid)

    return Units(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[Any]]]:
    """As `subprocess.Popen`; what it starts ends with the test, also with one that fails."""
    with ExitStack() as ends:

        def begin(command: list[str], **options: Any) -> subprocess.Popen[Any]:
            process = ends.enter_context(subprocess.Popen(command, **options))
            ends.callback(process.kill)
            return process

        yield begin


@pytest.fixture(autouse=True)
def _no_training(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fast test that trains is in the wrong tier."""
    if "fast" not in request.keywords or "ultralytics.engine.trainer" not in sys.modules:
        return

    def too_slow(*_: object, **__: object) -> None:
        pytest.fail(f"{request.node.nodeid} trains: list it in tests/tiers.py")

    monkeypatch.setattr("ultralytics.engine.trainer.BaseTrainer.train", too_slow)


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """For programs in processes of their own: torch is imported once for all of them."""
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    with Forks() as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real server, started when a test first asks for it."""
    if (why := missing()) is not None:
        pytest.skip(why)
    from autoprune.search.context import advisory_locks

    with pytest.MonkeyPatch.context() as patch, running_server() as server:
        patch.setattr(advisory_locks, "RECONNECT_S", 0.0)  # it has just been started
        yield server


@pytest.fixture
def database(postgres: Postgres) -> Iterator[str]:
    """The URL of a database without studies, its password in it."""
    from tests.search.shared import close_all

    yield postgres.database_with_tables()
    close_all()


@pytest.fixture(scope="session", autouse=True)
def _own_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    from autoprune.search.learn import calibration, learn_latency

    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        for module in (calibration, learn_latency):
            patch.setattr(module, "cache_folder", lambda: folder)
        yield


@pytest.fixture(scope="session", autouse=True)
def _quick_databases() -> Iterator[None]:
    """Here SQLite does not wait for the disk, and Optuna loads its migrations once.

    A test that kills a search does so in a process of its own, where nothing is changed.
    """
    import sqlalchemy

    try:
        from optuna.storages._rdb.storage import _VersionManager
    except ImportError:  # another Optuna: the tests are slower
        yield
        return

    def quick(connection: Any, _record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")

    load = _VersionManager._create_alembic_script
    loaded: list[Any] = []

    def load_once(manager: Any) -> Any:
        if not loaded:
            loaded.append(load(manager))
        return loaded[0]

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", quick)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_VersionManager, "_create_alembic_script", load_once)
        yield
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", quick)


@pytest.fixture(scope="session", autouse=True)
def _quick_exports() -> Iterator[None]:
    """Ultralytics' own exports too."""
    from autoprune.latency.operator_table import operator_table_made_once

    with operator_table_made_once():
        yield


@pytest.fixture(scope="session", autouse=True)
def _channels_stay_known() -> Iterator[None]:
    """Following a model's channels, and the proof, take a second; tests share a few models."""
    from autoprune import families

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(families, "REMEMBERED", 100)
        yield
