"""The verdict at the start of a search: timed once, kept, and never the end of the search."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autoprune.domain.goal import Goal
from autoprune.errors import ConfigError, TargetUnreachable, TrialFailed
from autoprune.search.feasibility import report_verdict
from autoprune.search.feasibility.report_verdict import MOST_CORRECTED, say_verdict
from tests.search.fakes import Heard, ending_in, fake_bench, latency, option, unlimited, with_goal


class Timing:
    """Stands in for `timed_options`; counts its calls."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.error = error

    def __call__(self, *asked: Any, known: Any, worth: Any, alone: Any) -> Any:
        self.calls.append(asked)
        if self.error:
            raise self.error
        floor = option("floor", "the floor", 4.0, removed=0.7)
        return known, (floor, option("image size", "128x128 px", 3.0))


def _bench(root: Path) -> Any:
    bench: Any = fake_bench(root)
    bench.predictor = object()
    return bench


def _heard(monkeypatch: pytest.MonkeyPatch, bench: Any, timing: Timing, limit_ms: Any) -> list[str]:
    monkeypatch.setattr(report_verdict, "timed_options", timing)
    heard = Heard()
    kind = "budget_ms" if limit_ms else "max_drop"
    with_goal(bench, Goal.model_validate({"kind": kind, "value": limit_ms or 1}))
    say_verdict(bench, unlimited(), heard)
    return heard.said


def test_a_continued_search_says_the_same_and_times_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, timing = _bench(tmp_path), Timing()
    first = _heard(monkeypatch, bench, timing, 3.5)
    assert "3.5 ms is not reachable by pruning" in first[0]
    assert "within it: 128x128 px (3.00 ms)" in first[0]
    assert first[1] == "--speedup 1.5 asks for 6.67 ms, which pruning can reach here."
    assert first[2].startswith("Without pruning: 128x128 px 3.00 ms")
    assert _heard(monkeypatch, bench, timing, 3.5) == first
    assert [asked[2] for asked in timing.calls] == [3.5]


def test_what_a_stock_export_takes_is_said_apart_from_what_could_replace_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timed(*_: Any, known: Any, worth: Any, alone: Any) -> Any:
        stock = option("stock export", "stock export", 11.8)
        return known, (option("floor", "the floor", 4.0, removed=0.7), stock)

    bench, heard = _bench(tmp_path), Heard()
    with_goal(bench, Goal(kind="budget_ms", value=5))
    monkeypatch.setattr(report_verdict, "timed_options", timed)
    say_verdict(bench, unlimited(), heard)
    assert heard.said[1:] == [
        "Exported without autoprune's rewrites, the dense model takes 11.80 ms (1.18 of dense)."
    ]


@pytest.mark.parametrize(
    ("took_ms", "error", "factor"),
    [
        (4.2, 0.0, 1.05),
        (9.0, 0.0, MOST_CORRECTED),
        (1.0, 0.0, 1 / MOST_CORRECTED),
        (4.4, 0.03, 1.084),  # by the more than an error of 3 % that it is
        (3.6, 0.03, 0.912),
        (4.1, 0.03, None),  # within it
        (4.0, 0.03, None),
        (4.0, 0.0, None),
    ],
)
def test_predictions_are_corrected_by_the_plan_that_was_timed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    took_ms: float,
    error: float,
    factor: float | None,
) -> None:
    bench, factors = _bench(tmp_path), []
    plan = bench.space.plan({name: offered[0] for name, offered in bench.space.choices.items()})

    class Predictor:
        def __init__(self) -> None:
            self.error = SimpleNamespace(mape=error)

        def times(self, factor: float) -> str:
            factors.append(factor)
            return "corrected"

    def timed(*_: Any, known: Any, worth: Any, alone: Any) -> Any:
        cheapest = option("plan", "the plan", 1.0, removed=0.5)
        cheapest = cheapest.model_copy(update={"plan": plan.to_mapping(), "latency": alone(plan)})
        return known, (option("floor", "the floor", 2.0), cheapest)

    bench.predictor, bench.predicted_ms = Predictor(), lambda asked: 4.0
    bench.measure = lambda asked, _: latency(took_ms)
    monkeypatch.setattr(report_verdict, "timed_options", timed)
    for _ in range(2):  # timed, and read back
        heard = Heard()
        found = say_verdict(bench, unlimited(), heard)
        assert (found.predictor == "corrected") == (factor is not None)
        assert ("all are corrected by" in heard.said[-1]) == (factor is not None)
        assert f"took {took_ms / 4:.3f} times" in heard.said[-1] or abs(took_ms - 4) > 1
    assert factors == pytest.approx([] if factor is None else [factor, factor], abs=0.001)


def test_without_a_limit_the_floor_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = _heard(monkeypatch, _bench(tmp_path), Timing(), None)
    assert said[0] == "Pruning can reach 4.00 ms (40% of dense)."


def test_a_sibling_that_cannot_be_timed_does_not_stop_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = _bench(tmp_path)
    (said,) = _heard(monkeypatch, bench, Timing(TrialFailed("export", "no such operator")), 5.0)
    assert "no such operator" in said
    assert not bench.folder.verdict.exists()
    assert len(_heard(monkeypatch, bench, Timing(), 5.0)) == 2  # tried again


def test_a_device_that_is_gone_pauses_and_a_broken_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = _bench(tmp_path)
    with pytest.raises(TargetUnreachable):
        _heard(monkeypatch, bench, Timing(TargetUnreachable("gone")), 5.0)
    bench.folder.verdict.write_text("{}")
    with pytest.raises(ConfigError, match=r"verdict\.json.*kind"):
        _heard(monkeypatch, bench, Timing(), 5.0)


def test_once_the_time_is_over_nothing_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, timing = _bench(tmp_path), Timing()
    monkeypatch.setattr(report_verdict, "timed_options", timing)
    too_late = ending_in(-1)
    too_late.latest = too_late.ends
    assert say_verdict(bench, too_late, Heard()) is bench
    assert timing.calls == []
