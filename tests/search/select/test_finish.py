"""The end of a search: which plan is recommended, and what an interruption leaves to read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from autoprune.domain.record import LONG, LatencyResult, TrialRecord
from autoprune.latency.measure import TimingSettings, together
from autoprune.search.context.budget import Allowance
from autoprune.search.context.listener import SearchListener
from autoprune.search.select import finish
from autoprune.search.select.finish import better_published, confirm_best
from tests.search.fakes import DENSE, fake_bench, latency, record, score


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
    return confirm_best(bench, records, Allowance.unlimited(), SearchListener())


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Name -> ms in a fresh process; what was asked for is removed."""
    again: dict[str, float] = {}
    monkeypatch.setattr(finish, "_measured_again", lambda b, r, _: latency(again.pop(r.name)))
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

    def measure(self, _: nn.Module, folder: Path, processes: int) -> LatencyResult:
        return together([latency(next(self.times)) for _ in range(processes)])


def test_a_plan_is_confirmed_by_three_processes_whose_bounds_all_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [_record(0, 4.9, 0.7), _record(1, 4.8, 0.6)]
    times = iter((4.7, 4.96, 4.8, 4.7, 4.9, 4.8))  # 4.96: its interval reaches 5.01
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
