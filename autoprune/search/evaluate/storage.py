"""Storage: the database that workers share a study in, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass

from autoprune.errors import ConfigError
from autoprune.search.context.artifacts import ArtifactPlace, artifact_place
from autoprune.search.context.database import check_database
from autoprune.search.context.database_study import DatabaseStudy
from autoprune.search.propose.objectives import OBJECTIVES
from autoprune.storage.database_url import DatabaseUrl


@dataclass(frozen=True)
class Storage:
    """A database that answers, and where weights go.

    Attributes:
        url: The database.
        artifacts: None where weights stay with the worker that trained them.
    """

    url: DatabaseUrl
    artifacts: ArtifactPlace | None = None

    @classmethod
    def asked(cls, url: str | None, artifacts: str | None) -> Storage | None:
        """As `checked`; None where the user names no database.

        Raises:
            ConfigError, StorageFailed: As `checked`.
        """
        if url is None and artifacts is not None:
            raise ConfigError.of("--artifacts", "", artifacts, "--storage too")
        return None if url is None else cls.checked(url, artifacts)

    @classmethod
    def checked(cls, url: str, artifacts: str | None = None) -> Storage:
        """Take `--storage` and `--artifacts` as the user gives them.

        Raises:
            ConfigError: No such place, a missing package, a wrong password.
            StorageFailed: Nothing answers there.
        """
        found = DatabaseUrl.of(url)
        check_database(found)
        return cls(found, None if artifacts is None else artifact_place(artifacts))

    def study(self, name: str) -> DatabaseStudy:
        """A study of that name, made where there is none."""
        directions = [objective.direction for objective in OBJECTIVES]
        return DatabaseStudy(self.url, name, directions, self.artifacts)

    def known_study(self, name: str) -> DatabaseStudy:
        """The study of that name.

        Raises:
            ConfigError: There is none.
        """
        return DatabaseStudy(self.url, name, None, self.artifacts)
