"""Journal: opens the stages of a search one by one, and notes how long each took."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from autoprune.domain.stages import Stage
from autoprune.errors import ConfigError, StorageFailed
from autoprune.search.context.budget import Allowance, Budget
from autoprune.search.context.listener import SearchListener
from autoprune.storage.study_folder import StudyFolder


class Journal:
    """Keeps stages.json of one study.

    Args:
        folder: The study's.
        listener: Told which stage begins.
        budget: The clock that gives each stage its time.
    """

    def __init__(self, folder: StudyFolder, listener: SearchListener, budget: Budget) -> None:
        self.folder, self.listener, self.budget = folder, listener, budget

    @contextlib.contextmanager
    def stage(self, stage: Stage) -> Iterator[Allowance]:
        """A stage from its beginning to its end, however it ends."""
        began = self.budget.now()
        self.listener.begins(stage)
        try:
            yield self.budget.open(stage)
        finally:
            self.note(stage, self.budget.now() - began)

    def note(self, stage: Stage, seconds: float) -> None:
        """Add to the time a stage took; a disk or database that fails is no reason to fail here."""
        with contextlib.suppress(OSError, ConfigError, StorageFailed):
            self.folder.add_stage_seconds(stage.name, seconds)
