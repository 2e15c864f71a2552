"""TrialQueue: which trials may be begun, over all workers of a study."""

from __future__ import annotations

from collections.abc import Collection

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from autoprune.domain.config import USUAL_WORKERS
from autoprune.search.context.optuna_inside import ask, running_trial, state_of
from autoprune.search.evaluate.attempts import note_deaths
from autoprune.storage.study_folder import StudyFolder

_ATTEMPTS = "attempts"  # user attribute: how often a trial was begun and not ended
_BEGUN = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED)


class TrialQueue:
    """Hands out the trials of one study.

    Args:
        study: The Optuna study.
        folder: Its folder, or one of them.
        limit: So many trials in all; None for any number.
    """

    def __init__(self, study: optuna.Study, folder: StudyFolder, limit: int | None) -> None:
        self.study, self.folder, self.limit = study, folder, limit
        self._seen: list[FrozenTrial] = []

    def look(self) -> None:
        """See what all workers have begun."""
        self._seen = self.study.get_trials(deepcopy=False)

    @property
    def begun(self) -> int:
        """Trials begun, at the last look."""
        return sum(trial.state in _BEGUN for trial in self._seen)

    def unfinished(self, own: Collection[int]) -> list[int]:
        """Numbers of the trials under way at the last look, but for this worker's own."""
        running = [trial.number for trial in self._seen if trial.state == TrialState.RUNNING]
        return [number for number in running if number not in own]

    def running(self, number: int) -> Trial:
        """A trial that another worker began."""
        return running_trial(self.study, number)

    def next(self) -> Trial | None:
        """A new trial; None where other workers have begun the last ones."""
        if self.limit is None:
            return ask(self.study)
        running = sum(trial.state == TrialState.RUNNING for trial in self._seen)
        if self.limit - self.begun > 2 * max(USUAL_WORKERS, running):
            return ask(self.study)
        with self.folder.alone(".ask.lock"):  # no two workers begin the last one
            self.look()
            return ask(self.study) if self.begun < self.limit else None

    def is_running(self, trial: Trial) -> bool:
        """Whether nobody has ended it meanwhile."""
        return state_of(self.study, trial) == TrialState.RUNNING

    def count_attempt(self, trial: Trial) -> int:
        """Note that it is begun; returns how often workers on any machine began it before.

        Where the study is not shared its folder knows, see `attempts`.
        """
        if self.folder.shared is None:
            return 0
        noted = trial.user_attrs.get(_ATTEMPTS, 0)
        before = noted if isinstance(noted, int) else 0
        if before:
            note_deaths(self.folder.trial(trial.number), before)
            self.folder.fetch()  # its record, if its worker died after sending it
        self.note_attempts(trial, before + 1)
        return before

    def note_attempts(self, trial: Trial, attempts: int) -> None:
        """Set how often it was begun and not ended."""
        if self.folder.shared is not None:
            try:
                trial.set_user_attr(_ATTEMPTS, attempts)
            except UpdateFinishedTrialError:
                return
