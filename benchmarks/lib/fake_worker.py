"""One worker of a study whose evaluations only wait: what is left is the framework's own time.

    python -m benchmarks.lib.fake_worker FOLDER TRIALS SECONDS NOTES

The database's URL is in $AUTOPRUNE_STORAGE; without it the study is in FOLDER.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from autoprune.domain.record import TrialRecord
from autoprune.search.evaluate import trials
from autoprune.search.evaluate.candidate import Candidate
from tests.search.fakes import FakeEvaluation, fake_bench, fake_loop
from tests.search.shared import close_all, shared_bench


class Waiting:
    """Answers after some seconds, and notes how long it was not asked in between.

    Attributes:
        gaps: (trial number, seconds between the answer before it and this question).
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.gaps: list[tuple[int, float]] = []
        self._answered: float | None = None

    def __call__(self, candidate: Candidate) -> TrialRecord:
        """Answer about a candidate."""
        if self._answered is not None and candidate.number is not None:
            self.gaps.append((candidate.number, time.monotonic() - self._answered))
        time.sleep(self.seconds)
        made = FakeEvaluation.by_kept_share(candidate)
        self._answered = time.monotonic()
        return made


def main() -> None:
    """Work until all trials are done; writes the gaps as JSON."""
    folder, count, seconds, notes = sys.argv[1:]
    waiting = Waiting(float(seconds))
    trials.evaluate_untrained = FakeEvaluation(waiting)  # type: ignore[assignment]
    url, root = os.environ.get("AUTOPRUNE_STORAGE"), Path(folder)
    bench: Any = fake_bench(root, int(count))
    if url is not None:
        bench = shared_bench(root, url, int(count))
    fake_loop(bench).run()
    close_all()
    Path(notes).write_text(json.dumps(waiting.gaps))


if __name__ == "__main__":
    main()
