"""SearchListener: what a search tells while it runs. The screen is one, the default is silent."""

from __future__ import annotations

from autoprune.domain.goal import Standing
from autoprune.domain.record import TrialRecord
from autoprune.domain.stages import Stage
from autoprune.storage.study_folder import StudyFolder


class SearchListener:
    """Does nothing; override what you want to hear."""

    def prepared(self, folder: StudyFolder, demo: bool, metric: str) -> None:
        """All input is checked; the study lives in `folder`, and `metric` compares its plans."""

    def begins(self, stage: Stage) -> None:
        """A stage of the search begins."""

    def say(self, text: str) -> None:
        """A sentence for the user."""

    def candidate(self, name: str, position: int | None, total: int | None) -> None:
        """A candidate begins; trials carry their position and, if limited, the total."""

    def stage(self, name: str) -> None:
        """The candidate enters a stage: prune, latency, recalibrate, fine-tune, validate."""

    def epoch(self, done: int, total: int) -> None:
        """An epoch of the fine-tune ended."""

    def result(self, record: TrialRecord, best: Standing | None) -> None:
        """A candidate is finished; `best` is the best so far, with what shows that it is."""

    def deadline(self, seconds: float | None) -> None:
        """Seconds left until the search stops by itself, or None without a limit."""
