"""A study's folder is filled from its database, before anything is read from it."""

from __future__ import annotations

from autoprune.errors import ConfigError
from autoprune.storage.database_url import VARIABLE
from autoprune.storage.shared import MARK
from autoprune.storage.study_folder import StudyFolder


def fetch_study(folder: StudyFolder) -> None:
    """Fill a study's folder with what its database holds, where it has one.

    Raises:
        ConfigError: The study is kept elsewhere than is said.
        StudyMismatch: The folder belongs to another one.
        StorageFailed: The database cannot be reached.
    """
    if folder.shared is None and (folder.root / MARK).exists():
        raise ConfigError(
            f"{folder.root}: this study is kept in a database; give --storage or ${VARIABLE}, or"
            " --name for a new study"
        )
    if folder.shared is not None:
        folder.shared.claim(folder.root)
        folder.fetch()
