"""Outcome: how a search ended, as outcome.yaml in and out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from autoprune.domain.record import FileNoun
from autoprune.domain.schema import stamped, unstamped
from autoprune.errors import BrokenContent, ConfigError
from autoprune.storage.yaml_io import dump_yaml, load_yaml, write_atomic

if TYPE_CHECKING:
    from typing_extensions import Self


class Outcome(FileNoun):
    """How a search ended, or that it has not.

    Attributes:
        status: "running" while a search works on the study; a search that was killed leaves it so.
        stopped_by: What ended the search, e.g. "--trials 12 reached".
        best: Name of the record that answers the question ("trial 7", "dense"); None: nothing does.
        goal_met: Whether `best` meets the goal.
        budget_ms: The latency limit in ms; None for an accuracy goal.
        message: One more sentence for the reader, e.g. why a search failed.
        finished: ISO 8601, UTC; None while running.
    """

    kind_of_file: ClassVar[str] = "outcome.yaml"

    status: Literal["running", "finished", "interrupted", "failed"]
    stopped_by: str = ""
    best: str | None = None
    goal_met: bool = False
    budget_ms: float | None = None
    message: str = ""
    finished: str | None = None

    def save(self, path: Path) -> None:
        """Write `outcome.yaml` atomically."""
        write_atomic(path, dump_yaml(stamped(self.kind_of_file, self.model_dump())))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read `outcome.yaml`.

        Raises:
            BrokenContent: Unreadable, not YAML, or not an outcome.
            ConfigError: Of a newer schema.
        """
        try:
            content = load_yaml(path)
        except ConfigError as error:
            raise BrokenContent(str(error)) from None
        return cls.checked(unstamped(cls.kind_of_file, content, str(path)), path)
