"""A search whose device goes away: it pauses, and the same command finishes it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from autoprune.domain.record import TrialRecord
from autoprune.errors import TargetUnreachable
from autoprune.search.evaluate.workers import Here
from autoprune.search.select import promote
from autoprune.search.select.promote import Promotions
from tests.latency.sshd import running_sshd
from tests.search.fakes import Heard, fake_bench, scored, unlimited
from tests.search.select.test_promote import Trainer, complete

TRIALS = 4


def _promote_all(root: Path) -> list[TrialRecord]:
    bench = fake_bench(root)
    heard = Heard()
    Promotions(bench, unlimited(), heard, Here(bench, heard)).run()
    return bench.folder.trial_records()


def test_a_device_that_goes_away_pauses_the_search_and_back_again_it_finishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaving: list[int] = []  # trials during which the device goes away
    runner = tmp_path / "runner.py"
    runner.write_text("print('{}')")
    folder = fake_bench(tmp_path / "study").folder
    for number in range(TRIALS):
        folder.save_record(scored(number, 4.0, 0.6 - 0.1 * number))
    with running_sshd(tmp_path) as sshd:
        target = sshd.target(python=sys.executable, runner_path=runner, tries=1)

        def measured_over_ssh(known: TrialRecord) -> TrialRecord:
            if known.number in leaving:
                sshd.kill()
            target.run({}, [], 20.0)
            return complete(known)

        trainer = Trainer(measured_over_ssh)
        monkeypatch.setattr(promote, "measure_candidate", trainer.measure)
        monkeypatch.setattr(promote, "train_candidate", trainer.train)
        monkeypatch.setattr(promote, "next_baseline", lambda *_: None)
        leaving.append(2)
        for _ in range(3):  # more often than a plan may take its worker down
            with pytest.raises(TargetUnreachable):
                _promote_all(tmp_path / "study")
        states = [record.state for record in folder.trial_records()]
        assert states == ["complete", "complete", "scored", "scored"]
        leaving.clear()
        sshd.start()
        assert [record.state for record in _promote_all(tmp_path / "study")] == ["complete"] * 4
    assert trainer.trained == ["trial 0", "trial 1", *["trial 2"] * 4, "trial 3"]
