"""A search whose device goes away: it pauses, and the same command finishes it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from autoprune.errors import TargetUnreachable
from autoprune.record import TrialRecord
from autoprune.search import trials
from autoprune.search.evaluate import Candidate
from tests.latency.sshd import running_sshd
from tests.search.fakes import FakeEvaluation, fake_bench, fake_loop, signature

TRIALS = 4


def _plans(root: Path) -> list[tuple[object, ...]]:
    records = fake_bench(root).folder.trial_records()
    return [signature(record.pruning_plan()) for record in records]


def test_a_device_that_goes_away_pauses_the_search_and_back_again_it_finishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaving: list[int] = []  # trials during which the device goes away
    runner = tmp_path / "runner.py"
    runner.write_text("print('{}')")
    with running_sshd(tmp_path) as sshd:
        target = sshd.target(python=sys.executable, runner_path=runner, tries=1)

        def measured_over_ssh(candidate: Candidate) -> TrialRecord:
            if candidate.number in leaving:
                sshd.kill()
            target.run({}, [], 20.0)
            return FakeEvaluation.by_kept_share(candidate)

        monkeypatch.setattr(trials, "evaluate", FakeEvaluation())
        fake_loop(fake_bench(tmp_path / "whole", trials=TRIALS, sampler="random")).run()
        monkeypatch.setattr(trials, "evaluate", FakeEvaluation(measured_over_ssh))
        leaving.append(2)
        for _ in range(2):  # a trial that takes its worker down so often is given up
            with pytest.raises(TargetUnreachable):
                fake_loop(fake_bench(tmp_path / "paused", trials=TRIALS, sampler="random")).run()
        assert len(_plans(tmp_path / "paused")) == 2
        leaving.clear()
        sshd.start()
        fake_loop(fake_bench(tmp_path / "paused", trials=TRIALS, sampler="random")).run()
    assert _plans(tmp_path / "paused") == _plans(tmp_path / "whole")
    states = [record.state for record in fake_bench(tmp_path / "paused").folder.trial_records()]
    assert "failed" not in states
