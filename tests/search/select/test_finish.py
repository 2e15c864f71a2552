"""The end of a search: which plan is recommended, and what an interruption leaves to read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from autoprune.domain.goal import Goal
from autoprune.domain.record import LONG, LatencyResult, TrialRecord
from autoprune.latency.measure import TimingSettings
from autoprune.latency.processes import Processes
from autoprune.search.context.budget import Allowance, Budget
from autoprune.search.context.listener import SearchListener
from autoprune.search.select import finish
from autoprune.search.select.finish import (
    MAX_DOUBTFUL,
    better_published,
    confirm_best,
    outcome_of,
    score_on_new_images,
)
from tests.search.fakes import (
    DENSE,
    Heard,
    ending_in,
    fake_bench,
    latency,
    record,
    score,
    too_late,
    unlimited,
    with_goal,
)
from tests.search.fakes import (
    scored as scored_record,
)


def _record(number: int, ms: float, map50_95: float, **given: Any) -> TrialRecord:
    return record(f"trial {number}", ms, map50_95, number=number, **given)


def _bench(root: Path, *records: TrialRecord, weights: bool = True) -> Any:
    bench = fake_bench(root)
    bench.folder.save_record(DENSE)
    for each in records:
        bench.folder.save_record(each)
        if weights:
            (bench.folder.folder_of(each) / "model.pt").write_bytes(b"weights")
    return bench


def _confirmed(bench: Any, records: list[TrialRecord]) -> TrialRecord | None:
    return confirm_best(bench, records, unlimited(), SearchListener())


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Name -> ms in a fresh process; what was asked for is removed."""
    again: dict[str, float] = {}
    monkeypatch.setattr(finish, "_measured_again", lambda b, r, *_: latency(again.pop(r.name)))
    return again


def test_the_best_that_a_fresh_process_confirms_is_recommended(
    tmp_path: Path, measured: dict[str, float]
) -> None:
    records = [_record(0, 4.9, 0.7), _record(1, 4.8, 0.6), _record(2, 4.0, 0.5)]
    measured |= {"trial 0": 4.99, "trial 1": 4.8}  # 4.99: its interval reaches 5.04
    best = _confirmed(_bench(tmp_path, *records), records)
    assert best is not None
    assert best.name == "trial 1"
    assert measured == {}


@dataclass(frozen=True)
class _Timed:
    """A bench whose measurements are given."""

    bench: Any
    times: Iterator[float]
    timing: TimingSettings = field(default_factory=TimingSettings)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bench, name)

    def measure(self, _: nn.Module, folder: Path, processes: Processes) -> LatencyResult:
        return processes.time(lambda: latency(next(self.times)))


def test_a_plan_is_confirmed_by_three_processes_whose_bounds_all_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [_record(0, 4.9, 0.7), _record(1, 4.8, 0.6)]
    times = iter((5.1, 5.01, 4.9, 4.7, 4.9, 4.8))
    bench: Any = _Timed(_bench(tmp_path, *records), times)
    monkeypatch.setattr(finish, "_trained", lambda *_: nn.Identity())
    best = _confirmed(bench, records)
    assert best is not None
    assert best.name == "trial 1"
    assert next(times, None) is None
    found = best.confirmed
    assert found is not None
    assert (found.low_ms, found.median_ms, found.high_ms) == (4.7 * 0.99, 4.8, 4.9 * 1.01)
    ratios = (found.ratio_low, found.ratio, found.ratio_high)
    assert ratios == pytest.approx((0.47 * 0.99, 0.48, 0.49 * 1.01))
    assert found.blocks == 24


@pytest.mark.parametrize(
    ("more", "best"),
    [((4.92, 4.93, 4.94), "trial 0"), ((5.05, 4.98, 4.99), "trial 1")],
)
def test_where_three_processes_leave_it_open_six_decide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[float, ...], best: str
) -> None:
    """4.97 ms alone may be 5.02; the mean of six is known better."""
    records = [_record(0, 4.9, 0.7), _record(1, 4.8, 0.6)]
    times = iter((4.93, 4.97, 4.94, *more, *((4.5,) * 3 if best == "trial 1" else ())))
    bench: Any = _Timed(_bench(tmp_path, *records), times)
    monkeypatch.setattr(finish, "_trained", lambda *_: nn.Identity())
    found = _confirmed(bench, records)
    assert found is not None
    assert found.name == best
    assert next(times, None) is None
    first = bench.folder.reread(records[0]).confirmed
    assert first is not None
    assert first.processes == 6


@pytest.mark.parametrize(("left_s", "processes"), [(59.0, 3), (61.0, 6)])
def test_three_processes_decide_where_three_more_would_end_too_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_s: float, processes: int
) -> None:
    """Each takes 10 s."""
    clock = [0.0]

    def times() -> Iterator[float]:
        for ms in (4.93, 4.97, 4.94, 5.3, 5.3, 5.3):
            clock[0] += 10
            yield ms

    record = _record(0, 4.9, 0.7)
    bench: Any = _Timed(_bench(tmp_path, record), times())
    monkeypatch.setattr(finish, "_trained", lambda *_: nn.Identity())
    budget = Budget(left_s, began=0.0, now=lambda: clock[0])
    allowance = Allowance(budget, left_s, left_s)
    assert confirm_best(bench, [record], allowance, SearchListener()) is None
    assert clock[0] == 10 * processes


def test_a_steady_miss_is_not_measured_until_it_passes(
    tmp_path: Path, measured: dict[str, float]
) -> None:
    shaky = latency(5.2).model_copy(update={"steady": False})
    records = [
        _record(0, 4.9, 0.7, confirmed=latency(5.01)),
        _record(1, 4.8, 0.6, confirmed=shaky),
    ]
    measured["trial 1"] = 4.7
    best = _confirmed(_bench(tmp_path, *records), records)
    assert best is not None
    assert best.name == "trial 1"


def test_a_plan_whose_weights_are_gone_is_recommended_only_if_all_are(
    tmp_path: Path, measured: dict[str, float]
) -> None:
    records = [_record(0, 4.5, 0.7), _record(1, 4.5, 0.6)]
    bench = _bench(tmp_path, *records)
    (bench.folder.trial(0) / "model.pt").unlink()
    measured |= {"trial 0": 4.5, "trial 1": 4.5}
    best = _confirmed(bench, records)
    assert best is not None
    assert best.name == "trial 1"
    (bench.folder.trial(1) / "model.pt").unlink()
    best = _confirmed(bench, records)
    assert best is not None
    assert best.name == "trial 0"


def test_a_model_published_earlier_gives_way_only_to_a_better_one(tmp_path: Path) -> None:
    kept = score(0.73, LONG)
    longer = kept.model_copy(update={"final": kept.metrics})
    old = _record(0, 4.5, 0.70, confirmed=latency(4.5))
    old = old.model_copy(update={"rungs": (*old.rungs, longer)})
    slow = _record(1, 4.9, 0.78, confirmed=latency(5.2))
    new = _record(2, 4.5, 0.705, confirmed=latency(4.5))
    bench = _bench(tmp_path, old, slow, new)
    assert better_published(bench, new).name == "trial 0"
    better = new.model_copy(update={"rungs": (score(0.74),)})
    assert better_published(bench, better).name == "trial 2"
    (bench.folder.trial(0) / "model.pt").unlink()
    assert better_published(bench, new).name == "trial 2"


def _misses(count: int, ms: float, worse_from: float = 0.7) -> list[TrialRecord]:
    return [_record(number, ms, worse_from - number / 100) for number in range(count)]


def test_after_many_misses_only_what_left_no_doubt_is_tried(
    tmp_path: Path, measured: dict[str, float]
) -> None:
    """4.97 ms is within by its median alone."""
    doubtful = _misses(MAX_DOUBTFUL + 2, 4.97)
    sure = _record(20, 4.5, 0.3)
    records = [*doubtful, sure]
    measured |= {record.name: 4.99 for record in doubtful} | {"trial 20": 4.5}
    best = _confirmed(_bench(tmp_path, *records), records)
    assert best is not None
    assert best.name == "trial 20"
    assert sorted(measured) == ["trial 5", "trial 6"]  # not asked for again
    assert MAX_DOUBTFUL == 5


def test_what_left_no_doubt_is_tried_however_many_missed(
    tmp_path: Path, measured: dict[str, float]
) -> None:
    records = _misses(MAX_DOUBTFUL + 2, 4.9)
    measured |= {record.name: 4.99 for record in records}
    measured[records[-1].name] = 4.8
    best = _confirmed(_bench(tmp_path, *records), records)
    assert best is not None
    assert best.name == records[-1].name


def test_once_the_time_is_over_one_candidate_is_confirmed_and_no_more(
    tmp_path: Path, measured: dict[str, float]
) -> None:
    records = _misses(3, 4.9)
    bench = _bench(tmp_path, *records)
    measured |= {"trial 0": 4.99, "trial 1": 4.8}
    assert confirm_best(bench, records, too_late(), SearchListener()) is None
    assert sorted(measured) == ["trial 1"]
    measured["trial 0"] = 4.8
    best = confirm_best(bench, records, too_late(), SearchListener())
    assert best is not None
    assert best.name == "trial 0"


def test_a_miss_is_followed_by_the_next_one_beyond_the_stages_own_time(
    tmp_path: Path, measured: dict[str, float]
) -> None:
    """What comes later is worth less than a confirmed plan."""
    records = _misses(3, 4.9)
    measured |= {"trial 0": 4.99, "trial 1": 4.8}
    best = confirm_best(_bench(tmp_path, *records), records, ending_in(-1), SearchListener())
    assert best is not None
    assert best.name == "trial 1"


def test_a_model_that_is_not_confirmed_is_never_published_instead(tmp_path: Path) -> None:
    new = _record(2, 4.5, 0.6, confirmed=latency(4.5))
    better = _record(3, 4.5, 0.7)
    assert better_published(_bench(tmp_path, new, better), new) == new


def test_an_accuracy_goal_publishes_what_it_found(tmp_path: Path) -> None:
    fastest = _record(0, 4.0, 0.78, confirmed=latency(4.0))
    better = _record(1, 6.0, 0.8, confirmed=latency(6.0))
    bench = with_goal(_bench(tmp_path, fastest, better), Goal(kind="max_drop", value=5))
    assert better_published(bench, fastest) == fastest


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Folders whose model was scored on new images, in order; each takes no time."""
    names: list[str] = []

    def trained(_: Any, folder: Path) -> nn.Module:
        names.append(folder.name)
        return nn.Identity()

    monkeypatch.setattr(finish, "_trained", trained)
    monkeypatch.setattr(finish, "validate", lambda *_: score(0.6).metrics)
    return names


def _scoring_bench(root: Path, *records: TrialRecord) -> Any:
    bench = _bench(root, *records)
    bench.data = SimpleNamespace(final_images=())
    bench.train_size, bench.device, bench.keep_export = 64, "cpu", lambda *_: None
    return bench


RECORDS = [
    _record(0, 4.0, 0.5),
    _record(1, 4.5, 0.6),
    record("uniform-0.30", 6.0, 0.3, kind="baseline", params=9000),
]


def test_the_recommended_plan_is_scored_on_new_images_before_the_others(
    tmp_path: Path, scored: list[str]
) -> None:
    bench = _scoring_bench(tmp_path, *RECORDS)
    score_on_new_images(bench, RECORDS, unlimited(), SearchListener(), RECORDS[1])
    assert scored == ["0001", "0000", "uniform-0.30"]
    assert all(bench.folder.reread(each).final is not None for each in RECORDS)
    score_on_new_images(bench, RECORDS, unlimited(), SearchListener(), RECORDS[1])
    assert len(scored) == 3  # once each


def test_without_time_only_the_recommended_plan_is_scored_and_that_is_said(
    tmp_path: Path, scored: list[str]
) -> None:
    bench, heard = _scoring_bench(tmp_path, *RECORDS), Heard()
    score_on_new_images(bench, RECORDS, ending_in(-1), heard, RECORDS[1])
    assert scored == ["0001"]
    assert heard.said == ["No time left for the final score of 2 more; continue to get them."]


def test_a_final_score_that_would_end_too_late_is_not_begun(
    tmp_path: Path, scored: list[str]
) -> None:
    """None was scored yet: the dense model's validation tells what one takes."""
    bench = _scoring_bench(tmp_path, *RECORDS)
    (given,) = DENSE.rungs
    rungs = (given.model_copy(update={"seconds": 5.0}),)
    bench.dense = DENSE.model_copy(update={"rungs": rungs})
    score_on_new_images(bench, RECORDS, ending_in(3.0), SearchListener())
    assert scored == []


def test_however_late_it_is_one_plan_is_confirmed(
    tmp_path: Path, measured: dict[str, float]
) -> None:
    records = _misses(2, 4.9)
    measured["trial 0"] = 4.8
    best = confirm_best(_bench(tmp_path, *records), records, too_late(), SearchListener())
    assert best is not None
    assert best.name == "trial 0"


def test_what_was_confirmed_before_is_not_lost_when_time_is_over(
    tmp_path: Path, measured: dict[str, float]
) -> None:
    heard = Heard()
    records = [*_misses(2, 4.9), _record(9, 4.5, 0.3, confirmed=latency(4.5))]
    measured["trial 0"] = 4.99
    best = confirm_best(_bench(tmp_path, *records), records, too_late(), heard)
    assert best is not None
    assert best.name == "trial 9"


def test_candidates_left_out_for_want_of_time_are_counted(
    tmp_path: Path, measured: dict[str, float]
) -> None:
    heard = Heard()
    records = _misses(3, 4.9)
    measured["trial 0"] = 4.99
    assert confirm_best(_bench(tmp_path, *records), records, too_late(), heard) is None
    assert heard.said[-1] == "No time left to measure 2 more again; continue to get them."


def test_misses_of_earlier_runs_count_too(tmp_path: Path, measured: dict[str, float]) -> None:
    """Asked often enough, any plan near the limit would pass once."""
    missed = [_record(number, 4.97, 0.7, confirmed=latency(4.99)) for number in range(MAX_DOUBTFUL)]
    records = [*missed, *(_record(10 + number, 4.97, 0.6) for number in range(3))]
    assert _confirmed(_bench(tmp_path, *records), records) is None
    assert measured == {}


def test_a_plan_measured_within_the_budget_meets_it_without_a_fine_tune_a_predicted_one_does_not(
    tmp_path: Path,
) -> None:
    bench = _bench(tmp_path)
    predicted = scored_record(3, 4.0, 0.5)
    found = outcome_of(bench.limit, [predicted], None, "time is over")
    assert (found.best, found.goal_met) == ("trial 3", False)
    measured = predicted.model_copy(update={"latency": latency(4.2)})
    found = outcome_of(bench.limit, [measured], None, "time is over")
    assert (found.best, found.goal_met) == ("trial 3", True)
    doubtful = predicted.model_copy(update={"latency": latency(4.98)})  # its interval reaches 5.03
    assert not outcome_of(bench.limit, [doubtful], None, "time is over").goal_met
    missed = record("trial 4", 5.2, None, number=4, state="over_budget", predicted=4.9)
    found = outcome_of(bench.limit, [missed], None, "time is over")
    assert (found.best, found.goal_met) == ("trial 4", False)
