"""The Optuna study: what goes wrong with its database is the disk's fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.exceptions import StorageInternalError

from autoprune.errors import StorageFailed
from autoprune.search.evaluate.open_study import database_errors
from tests.search.fakes import fake_bench


def test_a_database_that_cannot_be_written_pauses_the_search_and_is_named(tmp_path: Path) -> None:
    def fail() -> None:
        with database_errors(fake_bench(tmp_path)):
            raise StorageInternalError("a rollback\nfollowed") from OSError("disk I/O error")

    with pytest.raises(StorageFailed, match=r"study\.db: disk I/O error"):
        fail()


def test_another_error_is_its_own(tmp_path: Path) -> None:
    def fail() -> None:
        with database_errors(fake_bench(tmp_path)):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
