"""F24: the same seed twice, and interrupted after every third trial: the same plans, 100 times."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

from autoprune.domain.record import TrialRecord
from autoprune.search.evaluate import trials
from autoprune.search.evaluate.candidate import Candidate
from benchmarks.faults import fake_search
from benchmarks.faults.finding import Finding
from tests.search.fakes import FakeEvaluation, fake_bench, fake_loop

SAMPLERS = ("profile", "tpe", "nsga2", "random")
SEEDS, TRIALS = 25, 10


def run(seeds: int = SEEDS, count: int = TRIALS) -> Finding:
    """Compare three runs of each seed and sampler."""
    same, wrong = 0, []
    for sampler in SAMPLERS:
        for seed in range(seeds):
            with tempfile.TemporaryDirectory() as folder:
                root = Path(folder)
                once, again, cut = (root / name for name in ("once", "again", "cut"))
                for place in (once, again):
                    _go_on(place, count, seed, sampler, interrupted=False)
                while len(fake_search.records(cut)) < count:
                    _go_on(cut, count, seed, sampler, interrupted=True)
                if fake_search.plans(once) == fake_search.plans(again) == fake_search.plans(cut):
                    same += 1
                else:
                    wrong.append(f"{sampler}, seed {seed}: other plans")
    found = {"the same plans": same, "trials each": count, "samplers": list(SAMPLERS)}
    return Finding(seeds * len(SAMPLERS), found, wrong)


def _go_on(root: Path, count: int, seed: int, sampler: str, *, interrupted: bool) -> None:
    calls = 0

    def answer(candidate: Candidate) -> TrialRecord:
        nonlocal calls
        calls += 1
        if interrupted and calls == 4:
            raise KeyboardInterrupt
        return FakeEvaluation.by_kept_share(candidate)

    trials.evaluate_untrained = FakeEvaluation(answer)  # type: ignore[attr-defined]
    with suppress(KeyboardInterrupt):
        fake_loop(fake_bench(root, trials=count, sampler=sampler, seed=seed)).run()
