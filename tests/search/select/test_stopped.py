"""What an interruption leaves to read."""

from __future__ import annotations

from pathlib import Path

from autoprune.domain.outcome import Outcome
from autoprune.search.select.stopped import ended_early, note_stop
from tests.search.fakes import latency
from tests.search.select.test_finish import _bench, _record


def test_an_interruption_names_what_was_confirmed(tmp_path: Path) -> None:
    records = [
        _record(0, 4.9, 0.7, confirmed=latency(5.06)),
        _record(1, 4.8, 0.65),
        _record(2, 4.7, 0.6, confirmed=latency(4.7)),
    ]
    bench = _bench(tmp_path, *records)
    note_stop(bench, KeyboardInterrupt())
    outcome = bench.folder.load_outcome()
    assert (outcome.status, outcome.best, outcome.goal_met) == ("interrupted", "trial 2", True)


def test_an_interruption_leaves_what_has_ended_alone(tmp_path: Path) -> None:
    bench = _bench(tmp_path, _record(0, 4.5, 0.7))
    Outcome(status="finished", best="trial 0", goal_met=True).save(bench.folder.outcome)
    note_stop(bench, KeyboardInterrupt())
    assert bench.folder.load_outcome().status == "finished"


def test_a_plan_whose_confirmation_missed_is_not_the_best_so_far(tmp_path: Path) -> None:
    shaky = latency(5.3).model_copy(update={"steady": False})
    records = [_record(0, 4.8, 0.7, confirmed=shaky), _record(1, 4.8, 0.6)]
    bench = _bench(tmp_path, *records)
    note_stop(bench, KeyboardInterrupt())
    assert bench.folder.load_outcome().best == "trial 1"


def test_a_search_whose_time_is_over_at_once_leaves_what_is_known(tmp_path: Path) -> None:
    bench = _bench(tmp_path, _record(0, 4.5, 0.7, confirmed=latency(4.5)))
    outcome = ended_early(bench, "--timeout 5 is over")
    assert (outcome.best, outcome.goal_met) == ("trial 0", True)
    assert outcome.stopped_by == "--timeout 5 is over"
    assert bench.folder.load_outcome() == outcome
    assert ended_early(_bench(tmp_path / "new"), "over").goal_met is False
