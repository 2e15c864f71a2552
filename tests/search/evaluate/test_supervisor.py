"""What a candidate may take, and what happens where the search itself is the one worker."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autoprune.domain.record import Failure
from autoprune.search.evaluate import supervisor
from autoprune.search.evaluate.attempts import attempt
from autoprune.search.evaluate.candidate import evaluate_untrained, train_candidate
from autoprune.search.evaluate.supervisor import LEAST_S, TIMES, Limits
from tests.search.fakes import DENSE, fake_bench

ROOT = Path(__file__).resolve().parents[3]


def test_limits_follow_the_dense_model_and_the_memory_that_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "available_bytes", lambda: 10 * 10**9)
    bench = fake_bench(tmp_path)
    images = tuple(Path(f"{number}.png") for number in range(100))
    bench.data = SimpleNamespace(train=images * 20, selection_images=images)
    bench.fine_tune = replace(bench.fine_tune, epochs=3)
    quick = Limits.of(bench, 2, own_bytes=10**9)
    assert quick.score_s == LEAST_S, "an upset machine ends nothing quick"
    assert quick.most_bytes == 4_500_000_000
    validation_s = sum(score.seconds for score in DENSE.rungs)
    assert quick.train_s == LEAST_S + TIMES * 3 * 2000 * 3 * validation_s / 100
    bench.dense = DENSE.model_copy(update={"seconds": 1000.0})
    slow = Limits.of(bench, 1, own_bytes=10**9)
    assert slow.score_s == 1000 * TIMES
    assert slow.most_bytes == int(0.9 * 11 * 10**9)
    assert Limits.of(bench, 9, own_bytes=10**9).most_bytes == 1_500_000_000, "what one needs"
    assert Limits.of(bench, 30, own_bytes=10**8).most_bytes == 10**9


def test_a_fine_tune_that_is_to_be_cut_short_has_little_more_than_that() -> None:
    limits = Limits(score_s=600, train_s=5000)
    assert limits.seconds(evaluate_untrained, ()) == 600
    assert limits.seconds(train_candidate, ("record", None)) == 5000
    assert limits.seconds(train_candidate, ("record", 100.0)) == 800
    assert limits.seconds(train_candidate, ("record", 9000.0)) == 5000


_ENDLESS = """
import sys
from pathlib import Path
from types import SimpleNamespace
from autoprune.domain.plan import PruningPlan
from autoprune.search.context.listener import SearchListener
from autoprune.search.evaluate.attempts import attempt
from autoprune.search.evaluate.candidate import Candidate
from autoprune.search.evaluate.supervisor import Limits
from autoprune.search.evaluate.workers import Here
from autoprune.storage.study_folder import StudyFolder

def endless(bench, candidate, listener):
    with attempt(candidate.folder(bench.folder)):
        while True:
            pass

bench = SimpleNamespace(folder=StudyFolder(Path(sys.argv[1])))
here = Here(bench, SearchListener(), Limits(score_s=1.0))
here.begin(endless, Candidate("trial", "trial 7", 7, PruningPlan({0: 0.5})))
"""


def test_the_search_itself_ends_beyond_its_limits_and_the_next_one_knows(tmp_path: Path) -> None:
    command: list[Any] = [sys.executable, "-c", _ENDLESS, str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 4, ended.stderr
    said = "trial 7: not done after 1 s; the same command continues without it"
    assert ended.stderr == f"autoprune: paused: {said}\n"
    with attempt(tmp_path / "trials" / "0007") as refused:
        assert refused == Failure(reason="timeout", detail="not done after 1 s")
